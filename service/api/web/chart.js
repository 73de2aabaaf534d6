/** Curves over epochs, drawn by uPlot: one cursor through all charts, a legend of buttons, keys for the cursor. */

import { el, setAttribute, setText } from "./dom.js";
import { count, number, percent, percentTick, power, short } from "./format.js";

const HEIGHT = 220;
const COLOURS = ["--c0", "--c1", "--c2"];
const DASHES = [[], [7, 4], [2, 3]]; // a second sign beside the colour
const DECADES = 10; // a logarithmic axis shows at most so many below its largest value

const decimalTick = (value) => (value >= 1e-3 && value < 1e5 ? number(value) : power(value, 0));

/** The charts of a calibration: title, scale, and what is drawn. */
export const CHARTS = [
  {
    title: "Loss",
    log: true,
    show: number,
    tick: decimalTick,
    series: { loss: "loss", data_loss: "data loss", l0_penalty: "L0 penalty" },
  },
  {
    title: "Absolute relative error",
    log: true,
    show: percent,
    tick: percentTick,
    series: { max_abs_relative_error: "largest", mean_abs_relative_error: "mean", median_abs_relative_error: "median" },
  },
  {
    title: "Units",
    log: false,
    show: count,
    tick: short,
    series: { active: "active", expected_l0: "expected (L0 norm)" },
  },
];

/** The names of every curve drawn. */
export const KEYS = CHARTS.flatMap((chart) => Object.keys(chart.series));

/** Gives a figure that draws `chart`, with `update(metrics)` and `redraw()`; it lets go of everything on `signal`. */
export function figure(chart, signal) {
  const keys = Object.keys(chart.series);
  const legend = keys.map((key, i) => legendButton(chart.series[key], i));
  const plot = el("div", { class: "plot", role: "img", tabindex: 0, "aria-label": `${chart.title}: no points yet` });
  const at = el("span", { class: "quiet" });
  const caption = el("figcaption", {}, el("h3", {}, chart.title, " ", at), el("div", { class: "legend" }, legend.map(({ button }) => button)));
  const node = el("figure", { class: "card" }, caption, plot);
  const drawing = new uPlot(options(chart, (itself) => showValues(itself, chart, legend, at)), emptyData(keys), plot);

  legend.forEach(({ button }, i) => button.addEventListener("click", () => toggle(drawing, button, i + 1)));
  plot.addEventListener("keydown", (event) => moveCursor(drawing, event));
  const observer = new ResizeObserver(([{ contentRect }]) => contentRect.width && drawing.setSize({ width: contentRect.width, height: HEIGHT }));
  observer.observe(plot);
  signal.addEventListener("abort", () => (observer.disconnect(), drawing.destroy()));

  const update = (metrics) => {
    const data = aligned(metrics, keys, chart.log);
    if (isZoomed(drawing)) (drawing.setData(data, false), drawing.redraw());
    else drawing.setData(data);
    setAttribute(plot, "aria-label", spoken(drawing, chart));
    showValues(drawing, chart, legend, at);
  };
  return { node, update, redraw: () => drawing.redraw() };
}

function legendButton(label, i) {
  const value = el("b", {});
  const sign = el("span", { class: `sign sign-${i}`, "aria-hidden": "true" });
  return { value, button: el("button", { type: "button", "aria-pressed": "true" }, sign, label, " ", value) };
}

function toggle(drawing, button, index) {
  const show = !drawing.series[index].show;
  drawing.setSeries(index, { show });
  setAttribute(button, "aria-pressed", String(show));
}

function options(chart, onCursor) {
  const grid = { stroke: () => colour("--grid"), width: 1 };
  const rungs = chart.log ? { ...grid, filter: decades } : grid;
  const axis = { stroke: () => colour("--muted"), grid, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const keys = Object.keys(chart.series);
  return {
    width: 320,
    height: HEIGHT,
    legend: { show: false },
    cursor: { sync: { key: "epochs" }, y: false, points: { size: 7 }, drag: { x: true, y: false }, move: snapped },
    scales: { x: { time: false }, y: chart.log ? { distr: 3, range: logRange } : { range: linearRange } },
    axes: [
      { ...axis, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? short(tick) : "")), space: 56, size: 30 },
      { ...axis, grid: rungs, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : chart.tick(tick))), size: 62 },
    ],
    series: [{}, ...keys.map((_, i) => ({ stroke: () => colour(COLOURS[i]), dash: DASHES[i], width: 2, spanGaps: true, points: { show: false } }))],
    hooks: { setCursor: [onCursor] },
  };
}

/** Puts the cursor on the nearest point, except while a stretch is being dragged. */
function snapped(drawing, left, top) {
  const steps = drawing.data[0];
  if (left < 0 || !steps.length || drawing.cursor.drag._x) return [left, top];
  return [drawing.valToPos(steps[drawing.posToIdx(left)], "x"), top];
}

/** Leaves only whole powers of ten among the rungs of a long ladder. */
function decades(_, ticks) {
  const isLong = ticks.at(-1) / ticks[0] > 100;
  return ticks.map((tick) => (isLong && Math.abs(Math.log10(tick) % 1) > 1e-6 ? null : tick));
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

function logRange(_, low, high) {
  if (!(high > 0)) return [0.1, 1];
  return uPlot.rangeLog(Math.max(low, high / 10 ** DECADES), high, 10, false);
}

function linearRange(_, low, high) {
  return [0, high > 0 ? high * 1.05 : 1];
}

const emptyData = (keys) => [[], ...keys.map(() => [])];

/** Gives the curves over one row of steps; a number that cannot be drawn becomes null, and the line goes on. */
function aligned(metrics, keys, log) {
  const curves = keys.map((key) => metrics[key] ?? { step: [], last: [] });
  const steps = [...new Set(curves.flatMap((curve) => curve.step))].sort((a, b) => a - b);
  const drawable = (value) => (Number.isFinite(value) && (!log || value > 0) ? value : null);
  return [steps, ...curves.map((curve) => {
    const values = new Map(curve.step.map((step, i) => [step, drawable(curve.last[i])]));
    return steps.map((step) => values.get(step) ?? null);
  })];
}

function isZoomed({ data: [steps], scales: { x } }) {
  return steps.length > 1 && x.min !== null && (x.min > steps[0] || x.max < steps.at(-1));
}

/** Shows in the legend the values under the cursor and their epoch, or the last values. */
function showValues(drawing, chart, legend, at) {
  const { idx } = drawing.cursor;
  const index = idx === null ? undefined : idx;
  setText(at, index === undefined ? "" : `epoch ${count(drawing.data[0][index])}`);
  legend.forEach(({ value }, i) => {
    const curve = drawing.data[i + 1];
    setText(value, chart.show(index === undefined ? last(curve) : curve[index]));
  });
}

const last = (curve) => curve.findLast((value) => value !== null);

function spoken(drawing, chart) {
  const steps = drawing.data[0];
  if (!steps.length) return `${chart.title}: no points yet`;
  const parts = Object.values(chart.series).map((label, i) => `${label} ${chart.show(last(drawing.data[i + 1]))}`);
  return `${chart.title} after ${count(steps.at(-1))} epochs: ${parts.join(", ")}`;
}

const STRIDES = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

/** Moves the cursor of all charts by keys: arrows by a point, page keys by ten, Home, End, Escape. */
function moveCursor(drawing, event) {
  const steps = drawing.data[0];
  if (!steps.length || (!(event.key in STRIDES) && event.key !== "Escape")) return;
  event.preventDefault();
  const from = drawing.cursor.idx ?? (event.key === "ArrowRight" ? -1 : steps.length);
  const to = Math.min(steps.length - 1, Math.max(0, from + STRIDES[event.key]));
  const left = event.key === "Escape" ? -10 : drawing.valToPos(steps[to], "x");
  drawing.setCursor({ left, top: 10 }, true, true);
}
