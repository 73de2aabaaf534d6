/** The headline numbers of a job. */

import { el, setText } from "./dom.js";
import { UNKNOWN, count, duration, number, percent, secondsBetween } from "./format.js";
import { timeLeft } from "./header.js";
import { hasEnded } from "./state.js";

/** Gives the headline numbers that are known: [label, value, line below]. */
export function tiles(job, page) {
  const summary = job.summary ?? {};
  const latest = (key) => page.metrics[key]?.last.at(-1);
  const first = (key) => summary[`initial_${key}`] ?? page.start[key]?.last[0];
  const error = (label, key) => [label, percent(summary[key] ?? latest(key)), `${percent(first(key))} before`];
  const targets = summary.n_targets;
  const within = [1, 5, 10].map((level) => summary[`within_${level}_percent`]);
  const units = summary.n_units ?? page.problem?.n_units;
  const rate = page.rate();
  return [
    error("Mean abs. relative error", "mean_abs_relative_error"),
    error("Median abs. relative error", "median_abs_relative_error"),
    error("Largest abs. relative error", "max_abs_relative_error"),
    ["Within 1 / 5 / 10 %", within.map(count).join(" / "), `of ${count(targets)} targets`],
    ["Active units", count(summary.n_active ?? latest("active")), units ? `of ${count(units)}` : ""],
    ["Effective sample size", number(summary.effective_sample_size), `design effect ${number(summary.design_effect)}`],
    ["Largest g-weight", number(summary.max_g_weight), "calibrated over survey weight"],
    ["Held-out mean error", percent(summary.holdout?.mean_abs_relative_error), `${percent(summary.holdout?.initial_mean_abs_relative_error)} before`],
    ["Epochs a second", rate ? number(rate) : UNKNOWN, hasEnded(job) ? tookLine(job) : timeLeft(page)],
  ].filter(([, value]) => !value.startsWith(UNKNOWN));
}

const tookLine = (job) => `took ${duration(secondsBetween(job.started_at, job.finished_at))} in all`;

/** Shows them in a list, which changes only where they do. */
export function showTiles(list, all) {
  while (list.children.length > all.length) list.lastChild.remove();
  while (list.children.length < all.length) list.append(el("div", {}, el("dt"), el("dd"), el("dd", { class: "sub" })));
  all.forEach((texts, i) => texts.forEach((text, part) => setText(list.children[i].children[part], text)));
}
