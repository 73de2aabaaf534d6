/** Talks to the service: JSON in, refusals as errors, loops that outlive an outage, and the service's own clock. */

import { another, authorization, key } from "./key.js";

const LONGEST_PAUSE = 5000;
const BUSY = 429;
const WHO = 401;
const failing = new Set(); // the loops whose last request found no service
const watchers = new Set();
let skew = 0;

/** The service answered and said no: `status`, `code`, and the sentence as `message`. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the service answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "http_error";
  }
}

/** Nobody answered, or nobody could: worth asking again. */
export class Unreachable extends Error {}

/** Gives the service's time in milliseconds, within a second. */
export const now = () => Date.now() + skew;

/** Gives the JSON of a reply. `allow` lists refusals that are answers too. */
export async function ask(path, { signal, method = "GET", seconds = 15, allow = [] } = {}) {
  const used = key();
  const reply = await send(path, { signal, method, seconds, used });
  if (reply.status === WHO && (await another(used))) return ask(path, { signal, method, seconds, allow });
  const body = await reply.json().catch(() => ({}));
  if (reply.ok || allow.includes(reply.status)) return body;
  if (reply.status >= 500 || reply.status === BUSY) throw new Unreachable(body.detail);
  throw new Refused(reply.status, body);
}

async function send(path, { signal, method, seconds, used }) {
  const signals = [signal, AbortSignal.timeout(seconds * 1000)].filter(Boolean);
  try {
    const headers = { Accept: "application/json", ...authorization(used) };
    const reply = await fetch(path, { method, headers, cache: "no-store", signal: AbortSignal.any(signals) });
    const date = Date.parse(reply.headers.get("date"));
    if (date && Math.abs(date + 500 - now()) > 1500) skew = date + 500 - Date.now();
    return reply;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable(error.message);
  }
}

/** Runs `task` until it gives false, resting `pause` ms between, more while the service is away, all while hidden. */
export async function repeat(task, { signal, pause }) {
  const loop = {};
  signal.addEventListener("abort", () => mark(loop, true));
  for (let failures = 0; !signal.aborted; ) {
    try {
      const goesOn = await task();
      mark(loop, true);
      if (goesOn === false) return;
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Unreachable)) throw error;
      mark(loop, false);
      failures += 1;
    }
    await rest(failures ? Math.min(1000 * failures, LONGEST_PAUSE) : pause, signal);
    await visible(signal);
  }
}

/** Tells `watcher` whether the service answers, now and at every change. */
export function onConnection(watcher) {
  watchers.add(watcher);
  watcher(!failing.size);
}

function mark(loop, answers) {
  const before = failing.size;
  if (answers) failing.delete(loop);
  else failing.add(loop);
  if (!before !== !failing.size) watchers.forEach((watcher) => watcher(!failing.size));
}

/** Waits, or until `signal` aborts; leaves no listener behind on a signal that lives long. */
function rest(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => (clearTimeout(timer), signal.removeEventListener("abort", end), resolve());
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
}

function visible(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => (signal.removeEventListener("abort", end), resolve());
    document.addEventListener("visibilitychange", end, { once: true });
    signal.addEventListener("abort", end);
  });
}
