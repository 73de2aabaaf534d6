/** A curve the size of a word: the loss of a job, on a logarithmic scale. */

import { ask } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, EDGE] = [96, 26, 2];
const POINTS = 48;

/** Gives an empty sparkline; it says nothing to a screen reader, the numbers beside it do. */
export function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "polyline"));
  return svg;
}

/** Asks for the loss of a job and draws it. */
export async function drawLoss(svg, job, signal) {
  const { metrics } = await ask(`${job.links.metrics}?keys=loss&max_points=${POINTS}`, { signal });
  svg.firstChild.setAttribute("points", metrics.loss ? path(metrics.loss.step, metrics.loss.last) : "");
}

/** Gives the corners of the curve; points that a logarithm cannot show are left out. */
function path(steps, values) {
  const points = steps.map((step, i) => [step, values[i]]).filter(([, value]) => value > 0 && value < Infinity);
  const x = scale(points.map(([step]) => step), EDGE, WIDTH - EDGE);
  const y = scale(points.map(([, value]) => Math.log(value)), HEIGHT - EDGE, EDGE);
  return points.map((_, i) => `${x[i].toFixed(1)},${y[i].toFixed(1)}`).join(" ");
}

function scale(values, from, to) {
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  return values.map((value) => from + ((value - low) / span) * (to - from));
}
