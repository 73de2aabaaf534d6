/** The head of a job's page: its name, where it stands, what can be done with it. */

import { badge, el, setAttribute, setText, showBadge } from "./dom.js";
import { ago, count, dateTime, duration, number, secondsBetween, words } from "./format.js";
import { hasEnded, label, shareDone } from "./state.js";

/** Gives the head of the page: name, status, progress, what can be done. */
export function header(id, cancel) {
  const name = el("bdi", {}, "Job");
  const title = el("h1", {}, name, " ", el("span", { class: "mono" }, id));
  const [status, line, said] = [badge(), el("span", {}), el("p", { class: "quiet", role: "status" })];
  const bar = el("progress", { max: 1, value: 0, "aria-label": "Epochs done" });
  const stop = el("button", { type: "button", class: "danger", hidden: true }, "Cancel");
  const report = el("a", { class: "button", target: "_blank", rel: "noopener", hidden: true }, "Open the report");
  stop.addEventListener("click", cancel);
  const node = el(
    "div",
    {},
    el("p", { class: "crumbs" }, el("a", { href: "#" }, "← All jobs")),
    el("div", { class: "heading" }, title, el("div", { class: "actions" }, report, stop)),
    el("p", { class: "status-line" }, status, line),
    bar, said,
  );
  const show = (job, page) => {
    setText(name, label(job));
    showBadge(status, job);
    setText(line, statusLine(job, page));
    setAttribute(bar, "value", shareDone(job).toFixed(4));
    setAttribute(bar, "data-status", job.status);
    stop.hidden = hasEnded(job);
    stop.disabled = job.cancel_requested_at !== null;
    document.title = `${hasEnded(job) ? job.status : `${Math.floor(100 * shareDone(job))} %`} · job …${job.id.slice(-8)}`;
  };
  const offerReport = (path) => {
    report.hidden = !path;
    setAttribute(report, "href", path);
  };
  return { node, show, offerReport, say: (text) => setText(said, text) };
}

/** Gives a line such as "selecting, epoch 1,600 of 200,000, 3,100 epochs/s, 1 min 4 s left, heartbeat 2 s ago". */
function statusLine(job, page) {
  const { progress = {} } = job;
  const epochs = progress.epochs ? `epoch ${count(progress.epoch)} of ${count(progress.epochs)}` : null;
  if (hasEnded(job)) {
    const during = job.status !== "succeeded" && job.stage && `while ${words(job.stage)}`;
    const took = job.started_at && `after ${duration(secondsBetween(job.started_at, job.finished_at))}`;
    return [during, took, epochs, dateTime(job.finished_at)].filter(Boolean).join(", ");
  }
  const speed = page.rate() ? `${number(page.rate())} epochs/s` : null;
  const heartbeat = job.heartbeat_at ? `heartbeat ${ago(job.heartbeat_at)}` : `submitted ${ago(job.created_at)}`;
  const attempt = job.attempt > 1 ? `attempt ${job.attempt} of ${job.max_attempts}` : null;
  return [words(job.stage ?? ""), attempt, epochs, speed, timeLeft(page), heartbeat].filter(Boolean).join(", ");
}

/** Gives "about 3 min left", or nothing. */
export const timeLeft = (page) => (page.left() ? `about ${duration(page.left())} left` : "");

/** Asks in a dialog; gives whether the answer was yes. Escape is no. */
export function confirmed(title, text, yes, no) {
  const [go, stay] = [el("button", { type: "button", class: "danger" }, yes), el("button", { type: "button", autofocus: true }, no)];
  const heading = el("h2", { id: "dialog-title" }, title);
  const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, heading, el("p", {}, text), el("div", { class: "actions" }, stay, go));
  document.body.append(dialog);
  go.addEventListener("click", () => dialog.close("yes"));
  stay.addEventListener("click", () => dialog.close());
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
