/** Makes and changes elements. Text from outside only ever becomes text nodes: nothing here parses HTML. */

/** Gives an element with these attributes (null and false are left out) and children (strings become text, null and false nothing). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Sets an attribute, or takes it away where the value is null or false. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

/** Sets the text of a node where it differs, so that a selection and a screen reader are left in peace. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** Gives a table in a box that scrolls by itself: `columns` are {label, numeric}, the first cell of a row its heading. */
export function table(caption, columns, rows) {
  const head = columns.map(({ label, numeric }) => el("th", { scope: "col", class: numeric && "number" }, label));
  const body = rows.map((cells) => el("tr", {}, cells.map((cell, i) => tableCell(cell, i, columns[i].numeric))));
  return el(
    "div",
    { class: "scroll card", role: "region", "aria-label": caption, tabindex: 0 },
    el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)),
  );
}

function tableCell(content, index, numeric) {
  const shown = typeof content === "string" ? el("bdi", {}, content) : content;
  return index === 0 ? el("th", { scope: "row" }, shown) : el("td", { class: numeric && "number" }, shown);
}

/** Gives a section under a heading. */
export function section(heading, ...children) {
  return el("section", {}, el("h2", {}, heading), ...children);
}

/** Gives the badge of a job: a sign and a word, so that no meaning hangs on colour alone. */
export function badge() {
  return el("span", { class: "badge" });
}

/** Shows a job's status in its badge. */
export function showBadge(node, job) {
  setAttribute(node, "data-status", job.stalled ? "stalled" : job.status);
  setText(node, job.stalled ? "no sign of life" : job.cancel_requested_at && !job.finished_at ? "stopping" : job.status);
}
