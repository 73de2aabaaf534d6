/** The page: which view the address names, whether the service is ready, whether it answers. */

import { ask, onConnection, repeat } from "./api.js";
import { el, setAttribute, setText } from "./dom.js";
import { words } from "./format.js";
import { showJob } from "./job.js";
import { showJobs } from "./jobs.js";
import { saveWithKey } from "./key.js";

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const health = document.getElementById("health");
let view = new AbortController();

/** Shows what the hash names: `#job=<id>` one job, `#status=<status>` jobs in that state, else all jobs. */
async function route({ first = false } = {}) {
  view.abort();
  view = new AbortController();
  const { signal } = view;
  const asked = new URLSearchParams(location.hash.slice(1));
  main.replaceChildren();
  document.title = "L0 calibration";
  scrollTo(0, 0);
  if (!first) main.focus({ preventScroll: true });
  try {
    if (asked.get("job")) await showJob(main, asked.get("job"), signal);
    else await showJobs(main, asked.get("status"), signal);
  } catch (error) {
    if (!signal.aborted) showFailure(error);
  }
}

function showFailure(error) {
  const heading = error.status === 404 ? "Not found" : "This cannot be shown";
  main.replaceChildren(
    el("div", { class: "card alert", role: "alert" }, el("h1", {}, heading), el("p", {}, error.message)),
    el("p", {}, el("a", { href: "#" }, "All jobs")),
  );
}

async function showHealth() {
  const { status, checks } = await ask("/readyz", { allow: [503] });
  if (!checks) return;
  setAttribute(health, "data-state", status);
  const missing = Object.entries(checks).filter(([, check]) => !check.ok);
  setText(document.getElementById("health-word"), missing.length ? `no ${missing.map(([name]) => name).join(", no ")}` : "ready");
  const lines = Object.entries(checks).map(([name, check]) =>
    el("li", { "data-ok": String(check.ok) }, el("b", {}, words(name)), ` ${check.ok ? "works" : check.detail}`),
  );
  document.getElementById("health-checks").replaceChildren(...lines);
}

function showConnection(answers) {
  banner.hidden = answers;
  if (answers) return;
  setAttribute(health, "data-state", "away");
  setText(document.getElementById("health-word"), "no answer");
}

onConnection(showConnection);
repeat(showHealth, { signal: new AbortController().signal, pause: 10_000 });
addEventListener("click", saveWithKey);
addEventListener("hashchange", () => route());
addEventListener("keydown", (event) => event.key === "Escape" && (health.open = false));
route({ first: true });
