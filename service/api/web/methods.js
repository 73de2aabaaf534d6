/** What a kind of job can be told and gives, asked for once per kind. */

import { ask } from "./api.js";

const known = new Map();

/** Gives the schema of a kind; an empty one where the service has none. */
export async function method(kind, signal) {
  if (!known.has(kind)) known.set(kind, await schemaOf(kind, signal));
  return known.get(kind);
}

async function schemaOf(kind, signal) {
  const { hyperparameters, artifacts } = await ask(`/v1/methods/${encodeURIComponent(kind)}/schema`, { signal, allow: [404] });
  return { properties: hyperparameters?.properties ?? {}, artifacts: artifacts ?? {} };
}

/** Gives the hyperparameters of a job, those first that differ from their defaults. */
export function settings(job, { properties }) {
  const all = Object.entries(job.hyperparameters ?? {}).map(([name, value]) => {
    const { default: usual, description } = properties[name] ?? {};
    return { name, value: shown(value), usual: shown(usual), description, isSet: shown(value) !== shown(usual) };
  });
  return [...all.filter((setting) => setting.isSet), ...all.filter((setting) => !setting.isSet)];
}

function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "object") return Object.keys(value).length ? JSON.stringify(value) : "–";
  return String(value);
}
