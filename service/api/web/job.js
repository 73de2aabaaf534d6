/** One job: its numbers, stages and curves as they come, then what it leaves. */

import { ask, repeat } from "./api.js";
import { CHARTS, KEYS, figure } from "./chart.js";
import { el, section, setText } from "./dom.js";
import { number } from "./format.js";
import { confirmed, header } from "./header.js";
import { method } from "./methods.js";
import { WORST_QUERY, artifactPath, downloads, whatWasRun, worstTargets } from "./result.js";
import { hasEnded } from "./state.js";
import { showTiles, tiles } from "./tiles.js";
import { timeline } from "./timeline.js";

const WAIT = 20; // seconds the service may hold a request until there is news
const PAUSE = 500;
const POINTS = 500;
const CURVES = [...KEYS, "epoch_seconds"].join(",");

/** Shows a job and follows it until it has ended or `signal` aborts. */
export async function showJob(main, id, signal) {
  const page = new Page(id, signal);
  main.append(page.node);
  const ticking = setInterval(() => page.tick(), 1000);
  signal.addEventListener("abort", () => clearInterval(ticking));
  await repeat(() => page.follow(), { signal, pause: PAUSE });
}

/** The view of one job, and what is known of it so far. */
class Page {
  constructor(id, signal) {
    this.path = `/v1/jobs/${encodeURIComponent(id)}`;
    this.signal = signal;
    this.job = null;
    this.events = [];
    this.metrics = {};
    this.start = {}; // the curves at epoch 0
    this.known = { properties: {}, artifacts: {} };
    this.problem = null;
    this.head = header(id, () => this.askToCancel());
    this.tiles = el("dl", { class: "tiles" });
    this.failure = el("div", {});
    this.timeline = timeline();
    this.charts = CHARTS.map((chart) => figure(chart, signal));
    this.curveNote = el("p", { class: "quiet" }, "Drag to zoom, double-click to see all.");
    this.curves = section("Curves, epoch by epoch", el("div", { class: "charts" }, this.charts.map((chart) => chart.node)), this.curveNote);
    this.results = el("div", {});
    this.run = el("div", {});
    this.node = el(
      "div",
      { hidden: true },
      this.head.node, this.failure, this.tiles, this.timeline.node, this.curves, this.results, this.run,
    );
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.charts.forEach((chart) => chart.redraw()), { signal });
  }

  /** Waits for news and shows it; gives false once the job has ended and everything is shown. */
  async follow() {
    const wait = this.job && !hasEnded(this.job) ? `?wait=${WAIT}&after_version=${this.job.version}` : "";
    const before = this.job;
    const job = await this.get(this.path + wait, WAIT + 15);
    if (!this.problem) await this.learn(job);
    await Promise.all([this.readEvents(job), this.readCurves(job)]);
    this.job = job;
    this.show();
    if (before && before.status !== job.status) announce(`The job is ${job.status}.`);
    if (!hasEnded(job)) return true;
    if (job.status === "succeeded" && !job.expired_at) await this.showResults();
    return false;
  }

  get(path, seconds = 15, allow = []) {
    return ask(path, { signal: this.signal, seconds, allow });
  }

  /** Asks once for what does not change: the kind, the problem. */
  async learn(job) {
    this.known = await method(job.kind, this.signal);
    this.problem = await this.get(`/v1/problems/${encodeURIComponent(job.problem_id)}`, 15, [404]); // a problem can be forgotten
  }

  async readEvents(job) {
    for (let more = true; more; ) {
      const page = await this.get(`${job.links.events}?limit=1000&after=${this.events.at(-1)?.seq ?? 0}`);
      this.events.push(...page.data);
      more = page.has_more;
    }
  }

  async readCurves(job) {
    if (job.progress?.epochs === undefined || job.expired_at) return;
    const { metrics } = await this.get(`${job.links.metrics}?max_points=${POINTS}&keys=${CURVES}`);
    if (!this.start.loss) this.start = (await this.get(`${job.links.metrics}?to_step=0&keys=${CURVES}`)).metrics;
    this.metrics = metrics;
  }

  show() {
    const { job } = this;
    this.node.hidden = false;
    this.head.show(job, this);
    showTiles(this.tiles, tiles(job, this));
    showFailure(this.failure, job.error);
    this.timeline.update(this.events);
    this.curves.hidden = !this.metrics.loss && hasEnded(job);
    this.charts.forEach((chart) => chart.update(this.metrics));
    setText(this.curveNote, curveNote(job));
    if (!this.run.children.length || hasEnded(job)) this.run.replaceChildren(whatWasRun(job, this.known, this.problem));
  }

  /** Brings ages up to date between two answers. */
  tick() {
    if (!this.job || hasEnded(this.job)) return;
    this.head.show(this.job, this);
    this.timeline.update(this.events);
  }

  /** Epochs a second: the last ones of a running job, the typical ones of an ended job. */
  rate() {
    const seconds = (this.metrics.epoch_seconds?.last ?? []).filter((value) => value > 0);
    if (!seconds.length) return null;
    return 1 / (hasEnded(this.job) ? median(seconds) : median(seconds.slice(-5)));
  }

  /** Seconds until the last epoch at this rate; what follows the epochs is short. */
  left() {
    const { progress } = this.job;
    const rate = this.rate();
    return rate && progress.epochs > progress.epoch ? (progress.epochs - progress.epoch) / rate : null;
  }

  async showResults() {
    const { links } = this.job;
    const [targets, artifacts] = await Promise.all([
      this.get(`${links.targets}?${WORST_QUERY}`), this.get(links.artifacts),
    ]);
    this.head.offerReport(artifacts.data.some(({ name }) => name === "report.html") && artifactPath(this.job, "report.html"));
    const parts = [downloads(this.job, artifacts.data, this.known)];
    if (targets.data.length) parts.unshift(worstTargets(targets));
    this.results.replaceChildren(...parts);
  }

  async askToCancel() {
    if (!(await confirmed("Cancel this job?", "Its worker stops; a cancelled job has no result.", "Cancel the job", "Go on"))) return;
    try {
      await ask(`${this.path}/cancel`, { method: "POST", signal: this.signal });
      announce("The job is asked to stop.");
    } catch (error) {
      if (!this.signal.aborted) this.head.say(`It could not be cancelled: ${error.message}`);
    }
  }
}

function showFailure(node, error) {
  if (!error || node.children.length) return;
  const places = (error.errors ?? []).map(({ pointer }) => el("li", { class: "mono" }, pointer));
  node.append(
    el("div", { class: "card alert", role: "alert" },
      el("h2", {}, error.title ?? "The job failed", " ", el("code", {}, error.code)),
      el("p", {}, error.detail), places.length > 0 && el("ul", {}, places)),
  );
}

/** Says why the curves of a refitted job do not end at its result. */
function curveNote({ summary }) {
  const zoom = "Drag to zoom, double-click to see all.";
  if (summary?.selection_loss === undefined || summary.loss === summary.selection_loss) return zoom;
  const fall = `from ${number(summary.selection_loss)} to ${number(summary.loss)}`;
  return `The curves end where the gates have chosen the units; the refit then takes the loss ${fall}. ${zoom}`;
}

function announce(text) {
  setText(document.getElementById("announcer"), text);
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
