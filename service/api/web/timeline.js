/** What happened to a job: its stages to scale, what a reader should know, and every event in a table. */

import { el, setAttribute, setText, table } from "./dom.js";
import { count, dateTime, duration, secondsBetween, words } from "./format.js";

const ROUTINE = ["submitted", "started", "stage", "checkpoint", "succeeded", "failed", "cancelled"];
const ENDS = ["succeeded", "failed", "cancelled"];
const MOST_NOTES = 20;
const MOST_ROWS = 500;

/** Gives a node that shows events, with `update(events, now)`. */
export function timeline() {
  const stages = el("ol", { class: "stages", "aria-label": "Stages" });
  const notes = el("ul", { class: "notes" });
  const said = el("span", {});
  const rows = el("div", {});
  const all = el("details", {}, el("summary", {}, said), rows);
  const node = el("div", {}, stages, notes, all);
  let events = [];
  all.addEventListener("toggle", () => all.open && rows.replaceChildren(eventTable(events)));

  const update = (fresh) => {
    const grown = fresh.length !== events.length;
    events = fresh.slice();
    showStages(stages, segments(events));
    if (!grown) return;
    notes.replaceChildren(...events.filter((event) => !ROUTINE.includes(event.type)).slice(-MOST_NOTES).map(note));
    notes.hidden = !notes.children.length;
    setText(said, summary(events));
    if (all.open) rows.replaceChildren(eventTable(events));
  };
  return { node, update };
}

/** Gives the stretches between events: {name, from, to}; the last one of a live job has no end. */
function segments(events) {
  const found = [];
  for (const event of events) {
    const name = stageAfter(event);
    if (name === null) continue;
    if (found.length) found.at(-1).to = event.at;
    found.push({ name, from: event.at, isEnd: ENDS.includes(event.type) });
  }
  return found;
}

function stageAfter({ type, stage, attempt }) {
  if (type === "submitted" || type === "given_back" || type === "attempt_failed") return "waiting";
  if (type === "started") return attempt > 1 ? `starting, attempt ${attempt}` : "starting";
  if (type === "stage") return words(stage);
  return ENDS.includes(type) ? type : null;
}

function showStages(list, found) {
  while (list.children.length > found.length) list.lastChild.remove();
  found.forEach((segment, i) => showStage(list.children[i] ?? list.appendChild(stageItem()), segment));
}

function stageItem() {
  return el("li", {}, el("span", {}), el("span", { class: "sub" }));
}

function showStage(item, { name, from, to, isEnd }) {
  const seconds = Math.max(0, secondsBetween(from, to));
  item.style.flexGrow = isEnd ? 0 : Math.max(0.001, seconds);
  setAttribute(item, "data-state", isEnd ? name : to ? "past" : "now");
  setAttribute(item, "title", dateTime(from));
  setText(item.firstChild, name);
  setText(item.lastChild, isEnd || (to && seconds < 0.05) ? "" : duration(seconds));
}

function note({ type, severity, message, at }) {
  const sign = severity ?? words(type);
  return el("li", { "data-severity": severity ?? "info", title: dateTime(at) }, el("b", {}, sign), " ", el("bdi", {}, message));
}

function summary(events) {
  const checkpoints = events.filter((event) => event.type === "checkpoint");
  const text = `${count(events.length)} event${events.length === 1 ? "" : "s"}`;
  if (!checkpoints.length) return text;
  return `${text}, the last checkpoint after ${count(checkpoints.at(-1).epoch)} epochs`;
}

function eventTable(events) {
  const columns = [{ label: "Time" }, { label: "Event" }, { label: "Message" }];
  const rows = events.slice(-MOST_ROWS).reverse().map((event) => [dateTime(event.at), words(event.type), event.message]);
  return table("Events, newest first", columns, rows);
}
