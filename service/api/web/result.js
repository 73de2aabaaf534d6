/** What a job leaves: the worst targets, the files, and what was run. */

import { el, section, table } from "./dom.js";
import { bytes, dateTime, number, percent } from "./format.js";
import { settings } from "./methods.js";

const WORST = 30;

/** The query that `worstTargets` shows. */
export const WORST_QUERY = `sort=-abs_relative_error&limit=${WORST}`;

/** Gives the table of the targets that fit worst. */
export function worstTargets({ data, has_more: hasMore }) {
  const columns = [
    { label: "Target" },
    ...["Value", "Survey estimate", "Calibrated estimate", "Error before", "Error after"].map((label) => ({ label, numeric: true })),
  ];
  const widest = Math.max(...data.map((row) => row.abs_relative_error), Number.MIN_VALUE);
  const rows = data.map((row) => [
    name(row), number(row.value), number(row.initial_estimate), number(row.estimate),
    percent(errorBefore(row), { signed: true }), errorBar(row.relative_error, widest),
  ]);
  const heading = hasMore ? `The ${WORST} targets that fit worst` : "Targets, worst fit first";
  return section(heading, table(heading, columns, rows));
}

function name({ name: text, holdout }) {
  return el("span", {}, el("bdi", {}, text), holdout && el("span", { class: "chip" }, "held out"));
}

function errorBefore({ value, initial_estimate: before }) {
  return value === 0 ? null : (before - value) / Math.abs(value);
}

/** Gives an error as text over a bar; the longest bar is the worst error. */
function errorBar(error, widest) {
  const bar = el("span", { class: "error-bar", "aria-hidden": "true" });
  bar.style.width = `${Math.min(100, (100 * Math.abs(error)) / widest)}%`;
  return el("span", { class: "error" }, percent(error, { signed: true }), bar);
}

/** Gives the list of files, the report first, and the weights as CSV. */
export function downloads(job, artifacts, { artifacts: described }) {
  const columns = [{ label: "File" }, { label: "What it holds" }, { label: "Size", numeric: true }];
  const weights = el("a", { href: `${job.links.weights}?format=csv`, download: "weights.csv" }, "weights.csv");
  const rows = artifacts.map(({ name: file, size_bytes: size, sha256 }) => [
    el("a", { href: artifactPath(job, file), download: file, title: `sha256 ${sha256}` }, file),
    described[file] ?? "",
    bytes(size),
  ]);
  const hasWeights = artifacts.some(({ name: file }) => file === "calibration_weights.npy");
  if (hasWeights) rows.unshift([weights, "the units kept: index,weight", ""]);
  return section("Files", table("Files of the result", columns, rows));
}

/** Gives the address of an artifact. */
export const artifactPath = (job, file) => `${job.links.artifacts}/${encodeURIComponent(file)}`;

/** Gives everything needed to run the job again. */
export function whatWasRun(job, known, problem) {
  const all = settings(job, known);
  const set = all.filter((setting) => setting.isSet);
  const rest = all.filter((setting) => !setting.isSet);
  const parts = [facts(job, problem)];
  if (set.length) parts.push(settingTable("Hyperparameters that were set", set));
  if (rest.length) {
    const heading = `${rest.length} hyperparameters at their defaults`;
    parts.push(el("details", {}, el("summary", {}, heading), settingTable(heading, rest)));
  }
  return section("What was run", ...parts);
}

function settingTable(caption, rows) {
  const columns = [{ label: "Hyperparameter" }, { label: "Value" }, { label: "Default" }, { label: "Meaning" }];
  return table(caption, columns, rows.map(({ name: text, value, usual, description }) => [text, value, usual, description ?? ""]));
}

function facts(job, problem) {
  const lines = {
    Problem: `${job.problem_id}${problem?.n_targets ? size(problem) : ""}`,
    "Problem sha256": job.problem_sha256,
    Seed: String(job.seed),
    Device: job.device,
    Attempt: `${job.attempt} of at most ${job.max_attempts}`,
    Created: dateTime(job.created_at),
    Started: dateTime(job.started_at),
    Ended: dateTime(job.finished_at),
    ...(job.expired_at && { "Results removed": dateTime(job.expired_at) }),
    Versions: Object.entries(job.versions ?? {}).map(([part, version]) => `${part} ${version}`).join(", ") || "–",
    Tags: Object.entries(job.tags ?? {}).map(([key, value]) => `${key}: ${value}`).join(", ") || "–",
  };
  return el("dl", { class: "facts card" }, Object.entries(lines).map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, el("bdi", {}, value)))));
}

const size = ({ n_targets: targets, n_units: units, nnz }) => `: ${number(targets)} targets, ${number(units)} units, ${number(nnz)} nonzeros`;
