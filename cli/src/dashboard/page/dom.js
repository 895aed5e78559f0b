// Elements, and numbers and times as text.

const SVG = "http://www.w3.org/2000/svg";

const make = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(9).filter((child) => child != null && child !== false));
  return element;
};

/** An HTML element with attributes (`onclick` adds a listener) and children: elements, or text, which is never read as HTML. */
export const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const svg = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

/** A number with at most one digit after the point, or a dash for what is not known. */
export const number = (value) =>
  value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 1 });

export const time = (at) => new Date(at).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** The same on the clock of the zone that the time is written in, such as that of the hours, and not on the reader's. */
export const zoned = (at) =>
  new Date(`${at.slice(0, 19)}Z`).toLocaleString("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

export const clock = (at) => new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

/** "3 min ago" */
export const ago = (at, now = Date.now()) => {
  const seconds = Math.max(0, Math.round((now - new Date(at)) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 129_600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86_400)} d ago`;
};

/** A word of the JSON as people write it: "scaling-up" as "scaling up". */
export const words = (name) => name.replaceAll("-", " ");

/** The address of an object's view. */
export const link = ({ namespace, kind, name }) =>
  `#/${[namespace, kind.toLowerCase(), name].map(encodeURIComponent).join("/")}`;

/** The JSON at a path relative to this page; an error says what the server said. */
export const ask = async (path) => {
  const answer = await fetch(path, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${answer.status} ${answer.statusText}`);
  return answer.json();
};

/** A table: columns are `[title, isNumber]`, rows are lists of cells. As cards where the page is narrow. */
export const table = (caption, columns, rows) =>
  h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: "cards" },
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", null, h("tr", null, columns.map(([title, isNumber]) => h("th", { scope: "col", class: isNumber && "number" }, title)))),
      h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell, column) =>
        h("td", { class: columns[column][1] ? "number" : columns[column][2], "data-label": columns[column][0] }, h("div", null, cell))))))));

/** Which of these is said when there is nothing to show. */
export const nothing = (text) => h("p", { class: "soft" }, text);
