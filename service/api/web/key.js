/** The API key of this tab, asked for once the service wants one, and forgotten when the tab is closed. */

import { el } from "./dom.js";

const NAME = "l0-key";
let asking = null;

/** Gives the key, or null where none was asked for yet. */
export const key = () => sessionStorage.getItem(NAME);

/** Gives the header of a request that has this key. */
export const authorization = (used) => (used ? { Authorization: `Bearer ${used}` } : {});

/** Asks for another key than the one that was refused, once for all who need it; gives whether there is one now. */
export async function another(refused) {
  if (key() !== refused) return true;
  asking ??= dialog(refused).finally(() => (asking = null));
  await asking;
  return key() !== null;
}

function dialog(refused) {
  const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false", "aria-label": "API key", autofocus: true });
  const go = el("button", { type: "submit" }, "Go on");
  const text = refused ? "That key is not good, or no more." : "This service asks for an API key.";
  const form = el("form", { method: "dialog" }, el("p", {}, text), input, el("div", { class: "actions" }, go));
  const node = el("dialog", { "aria-labelledby": "key-title" }, el("h2", { id: "key-title" }, "API key"), form);
  sessionStorage.removeItem(NAME);
  document.body.append(node);
  form.addEventListener("submit", () => input.value.trim() && sessionStorage.setItem(NAME, input.value.trim()));
  node.showModal();
  return new Promise((resolve) => {
    node.addEventListener("close", () => (node.remove(), resolve()));
  });
}

/** Lets links to files of the service be saved with the key: a browser sends none when it follows a link.
 *
 * A report is saved too, never opened from here: a page made of its bytes would be one of ours, and could read the key.
 */
export function saveWithKey(event) {
  const link = event.target.closest?.("a[href^='/v1/']");
  if (!link || !key()) return;
  event.preventDefault();
  save(link.getAttribute("href"), link.download || link.pathname.split("/").pop());
}

async function save(path, name) {
  const used = key();
  const reply = await fetch(path, { headers: authorization(used) });
  if (reply.status === 401 && (await another(used))) return save(path, name);
  if (!reply.ok) throw new Error(`the service answered ${reply.status}`);
  const address = URL.createObjectURL(await reply.blob());
  el("a", { href: address, download: name }).click();
  return setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
