/** The list of jobs, newest first, kept fresh while it is looked at. */

import { ask, repeat } from "./api.js";
import { badge, el, setAttribute, setText, showBadge } from "./dom.js";
import { UNKNOWN, ago, count, dateTime, duration, percent, secondsBetween, short, words } from "./format.js";
import { method, settings } from "./methods.js";
import { drawLoss, sparkline } from "./sparkline.js";
import { hasEnded, label, shareDone } from "./state.js";

const REFRESH = 2000;
const PAGE = 50;
const MOST = 1000; // rows of one request, as the service allows
const STATUSES = ["pending", "running", "succeeded", "failed", "cancelled"];
const COLUMNS = [
  ["Job"], ["Status"], ["Epochs"], ["Loss"], ["Mean error", "number"], ["Active units", "number"],
  ["Heartbeat", "number"], ["Device"], ["Created", "number"],
];

/** Shows the jobs (of one status, where one is given) and keeps them fresh until `signal` aborts. */
export async function showJobs(main, status, signal) {
  const view = new List(status, signal);
  main.append(view.heading, view.body);
  await repeat(() => view.refresh(), { signal, pause: REFRESH });
}

/** The rows that are shown; a row is made once and then only changed. */
class List {
  constructor(status, signal) {
    this.status = STATUSES.includes(status) ? status : null;
    this.signal = signal;
    this.jobs = [];
    this.rows = new Map();
    this.methods = {};
    this.cursor = null;
    this.heading = el("div", { class: "heading" }, el("h1", {}, "Jobs"), filters(this.status));
    this.body = el("div");
    this.tbody = el("tbody", { role: "rowgroup" });
    this.more = el("button", { type: "button", class: "quiet" }, "Load more");
    this.more.addEventListener("click", () => this.loadMore());
  }

  /** Asks again for every row up to the oldest job that can still change. */
  async refresh() {
    const oldestLive = this.jobs.findLastIndex((job) => !hasEnded(job));
    const page = await this.page({ limit: Math.min(MOST, Math.max(PAGE, oldestLive + 1)) });
    this.merge(page);
    await this.describe();
    this.show();
    await this.drawSparklines();
  }

  async loadMore() {
    this.more.disabled = true;
    try {
      const page = await this.page({ limit: PAGE, cursor: this.cursor });
      this.jobs = this.jobs.concat(page.data);
      this.cursor = page.next_cursor;
      await this.describe();
      this.show();
    } catch {
      setText(this.more, "Load more (the last try found no answer)");
    } finally {
      this.more.disabled = false;
    }
  }

  /** Learns the kinds of the jobs, to tell what each was told. */
  async describe() {
    for (const kind of new Set(this.jobs.map((job) => job.kind))) this.methods[kind] = await method(kind, this.signal);
  }

  page(asked) {
    const query = new URLSearchParams(asked);
    if (this.status) query.set("status", this.status);
    return ask(`/v1/jobs?${query}`, { signal: this.signal });
  }

  /** Puts the newest page before the rows that follow it; starts anew where the two no longer touch. */
  merge({ data, next_cursor: cursor }) {
    const fresh = new Set(data.map((job) => job.id));
    const touch = this.jobs.findLastIndex((job) => fresh.has(job.id));
    const rest = touch < 0 || !cursor ? [] : this.jobs.slice(touch + 1);
    if (!rest.length) this.cursor = cursor;
    this.jobs = data.concat(rest);
  }

  show() {
    if (!this.jobs.length) return this.body.replaceChildren(this.status ? nothingFound(this.status) : firstSteps());
    if (!this.tbody.isConnected) this.body.replaceChildren(this.table(), this.more);
    const rows = this.jobs.map((job) => this.row(job));
    rows.forEach((row, i) => this.tbody.children[i] !== row && this.tbody.insertBefore(row, this.tbody.children[i] ?? null));
    while (this.tbody.children.length > rows.length) this.tbody.lastChild.remove();
    this.more.hidden = !this.cursor;
  }

  table() {
    const head = COLUMNS.map(([label, kind]) => el("th", { scope: "col", role: "columnheader", class: kind }, label));
    return el(
      "div",
      { class: "card jobs" },
      el(
        "table",
        { role: "table", "aria-label": "Jobs, newest first" },
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
        this.tbody,
      ),
    );
  }

  row(job) {
    if (!this.rows.has(job.id)) this.rows.set(job.id, jobRow(job));
    const row = this.rows.get(job.id);
    row.show(job, this.methods[job.kind]);
    return row;
  }

  /** Draws the loss of the rows on the screen: once for an ended job, again and again for a running one. */
  async drawSparklines() {
    for (const job of this.jobs) {
      const row = this.rows.get(job.id);
      const state = `${job.status} ${job.progress?.epoch}`;
      if (row.drawn === state || job.status === "pending" || job.expired_at || !isOnScreen(row)) continue;
      await drawLoss(row.spark, job, this.signal);
      row.drawn = state;
    }
  }
}

function isOnScreen(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

function filters(current) {
  const link = (status, label) =>
    el("a", { href: status ? `#status=${status}` : "#", "aria-current": current === status && "page" }, label);
  return el("nav", { class: "filters", "aria-label": "Jobs by status" }, link(null, "all"), STATUSES.map((status) => link(status, status)));
}

/** Gives the row of a job, with `show(job)` to bring it up to date. */
function jobRow(job) {
  const id = el("span", { class: "mono quiet", title: job.id }, job.id.slice(-8));
  const parts = {
    name: el("a", { href: `#job=${encodeURIComponent(job.id)}` }, el("bdi", {}, label(job)), " ", id),
    told: el("span", { class: "sub cut" }),
    badge: badge(),
    stage: el("span", { class: "sub" }),
    bar: el("progress", { max: 1, value: 0 }),
    epochs: el("span", { class: "sub" }),
    spark: sparkline(),
    ...Object.fromEntries(["error", "active", "total", "heartbeat", "device", "created"].map((name) => [name, el("span")])),
  };
  setAttribute(parts.total, "class", "sub");
  const contents = [
    [parts.name, parts.told], [parts.badge, parts.stage], [parts.bar, parts.epochs], [parts.spark], [parts.error],
    [parts.active, parts.total], [parts.heartbeat], [parts.device], [parts.created],
  ];
  const row = el("tr", { role: "row" }, contents.map((content, i) => cell(content, i)));
  return Object.assign(row, { spark: parts.spark, show: (fresh, known) => showRow(parts, fresh, known) });
}

function cell(content, index) {
  const [title, kind] = COLUMNS[index];
  const attributes = { class: kind, "data-label": title };
  if (index === 0) return el("th", { ...attributes, scope: "row", role: "rowheader" }, content);
  return el("td", { ...attributes, role: "cell" }, content);
}

/** Gives what the job was told beyond the defaults. */
function told(job, known) {
  const set = settings(job, known).filter((setting) => setting.isSet);
  return set.map(({ name, value }) => `${words(name)} ${value}`).join(", ") || "all defaults";
}

function showRow(parts, job, known) {
  const progress = job.progress ?? {};
  const share = shareDone(job);
  setText(parts.told, told(job, known));
  setAttribute(parts.told, "title", told(job, known));
  showBadge(parts.badge, job);
  setText(parts.stage, stageLine(job));
  setAttribute(parts.bar, "value", share.toFixed(4));
  setAttribute(parts.bar, "data-status", job.status);
  setAttribute(parts.bar, "aria-label", `${Math.round(100 * share)} percent of the epochs`);
  setText(parts.epochs, progress.epochs ? `${short(progress.epoch)} / ${short(progress.epochs)}` : "");
  setText(parts.error, orNothing(percent(job.summary?.mean_abs_relative_error ?? progress.mean_abs_relative_error)));
  setText(parts.active, orNothing(count(job.summary?.n_active ?? progress.active)));
  setText(parts.total, job.summary?.n_units ? `of ${count(job.summary.n_units)}` : "");
  setText(parts.heartbeat, hasEnded(job) || !job.heartbeat_at ? "" : ago(job.heartbeat_at));
  setText(parts.device, job.device);
  setText(parts.created, ago(job.created_at));
  setAttribute(parts.created, "title", dateTime(job.created_at));
}

/** Gives nothing for the unknown: the style sheet draws the dash, or leaves the cell out where room is short. */
const orNothing = (text) => (text === UNKNOWN ? "" : text);

function stageLine(job) {
  if (job.error) return words(job.error.code);
  if (!hasEnded(job)) return words(job.stage ?? "");
  return job.started_at ? duration(secondsBetween(job.started_at, job.finished_at)) : "";
}

function nothingFound(status) {
  return el("p", { class: "card empty" }, `No job is ${status} now.`);
}

/** Says how to submit a first job. */
function firstSteps() {
  const post = (path, body) => `curl -s ${location.origin}${path} -H 'Content-Type: application/json' -d '${body}'`;
  const matrix = '{"coo": {"shape": [2, 3], "row": [0,0,0,1,1], "col": [0,1,2,1,2], "data": [1,1,1,1,2]}}';
  const commands = [
    "# two totals over three households; the answer has the problem's id",
    post("/v1/problems", `{"kind": "calibration", "matrix": ${matrix}, "targets": [6, 9]}`),
    "",
    "# meet the totals with two of the three",
    post("/v1/jobs", '{"kind": "calibration", "problem_id": "prb_…", "hyperparameters": {"record_budget": 2}}'),
  ];
  return el(
    "div",
    { class: "card empty" },
    el("h2", {}, "No jobs yet"),
    el("p", {}, "Submit one, and it shows here within two seconds:"),
    el("pre", { tabindex: 0 }, el("code", {}, commands.join("\n"))),
    el("p", {}, "Real surveys go through ", el("code", {}, "service.client.Client"), "; ", el("code", {}, "make demo"),
      " calibrates Minnesota from beginning to end in a service of its own."),
  );
}
