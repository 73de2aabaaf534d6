/** Writes numbers, times and sizes as a reader expects them. */

import { now } from "./api.js";

export const UNKNOWN = "–";
const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const SIZES = ["B", "kB", "MB", "GB", "TB"];
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const stamp = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** 5460 -> "5,460" */
export const count = (value) => (isNumber(value) ? whole.format(value) : UNKNOWN);

/** 200000 -> "200k" */
export const short = (value) => (isNumber(value) ? compact.format(value).replace("K", "k") : UNKNOWN);

/** Three significant digits, whatever the size; all digits of the whole part. */
export function number(value) {
  if (!isNumber(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e15)) return power(value);
  const decimals = size === 0 || size >= 100 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toLocaleString("en", { maximumFractionDigits: decimals }).replace("-", "−");
}

/** 6.56e-19 -> "6.56×10⁻¹⁹"; powers of ten go without their 1. */
export function power(value, digits = 2) {
  const [mantissa, exponent] = value.toExponential(digits).split("e");
  const raised = [...exponent.replace("+", "")].map((digit) => SUPERSCRIPTS[digit]).join("");
  return Number(mantissa) === 1 ? `10${raised}` : `${Number(mantissa)}×10${raised}`.replace("-", "−");
}

/** A share in percent: 0.5878 -> "58.8 %", 1.2e-6 -> "0.000120 %", 1e-12 -> "<0.0001 %". */
export function percent(share, { signed = false } = {}) {
  if (!isNumber(share)) return UNKNOWN;
  const sign = share < 0 ? "−" : signed && share > 0 ? "+" : "";
  const size = Math.abs(share) * 100;
  if (size === 0) return "0 %";
  if (size < 1e-4) return "<0.0001 %";
  const decimals = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size))));
  return `${sign}${size.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })} %`;
}

/** A tick of a percent axis: as `percent`, down to the smallest power. */
export function percentTick(share) {
  const size = share * 100;
  if (size >= 1e-3 && size < 1e5) return `${Number(size.toPrecision(2)).toLocaleString("en", { maximumFractionDigits: 4 })} %`;
  return `${power(size, 0)} %`;
}

/** Seconds as "0.4 s", "12 s", "3 min 20 s", "5 h 10 min", "3 d 4 h". */
export function duration(seconds) {
  if (!isNumber(seconds)) return UNKNOWN;
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => Math.round(seconds) >= size);
  let rest = Math.round(seconds);
  return parts
    .slice(first, first + 2)
    .map(([unit, size]) => [Math.floor(rest / size), unit, (rest %= size)])
    .filter(([amount]) => amount)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(" ");
}

/** Seconds between two timestamps; the second may be missing for "until now". */
export const secondsBetween = (from, to) => ((to ? Date.parse(to) : now()) - Date.parse(from)) / 1000;

/** A timestamp as its age, in one unit: "now", "12 s ago", "3 h ago". */
export function ago(timestamp) {
  if (!timestamp) return UNKNOWN;
  const seconds = secondsBetween(timestamp);
  if (seconds < 2) return "now";
  const [unit, size] = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].find(([, length]) => seconds >= length);
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** A timestamp as date and time of this place. */
export const dateTime = (timestamp) => (timestamp ? stamp.format(new Date(timestamp)) : UNKNOWN);

/** 86261 -> "86.3 kB" */
export function bytes(size) {
  const step = Math.min(SIZES.length - 1, size > 0 ? Math.floor(Math.log10(size) / 3) : 0);
  return `${(size / 1000 ** step).toLocaleString("en", { maximumFractionDigits: step ? 1 : 0 })} ${SIZES[step]}`;
}

/** "awaiting_dispatch" -> "awaiting dispatch" */
export const words = (name) => String(name).replaceAll("_", " ");
