// The fleet as it is now: the first message brings all of it, each later one the rows that have changed.

const rows = new Map();
let told = null;
let isConnected = false;
const listeners = new Set();

const ORDER = new Intl.Collator("en", { numeric: true });
const key = (row) => `${row.namespace}/${row.kind}/${row.name}`;

/** Starts to listen. The browser itself connects again when the connection ends. */
export const connect = () => {
  const source = new EventSource("fleet/live");
  source.addEventListener("rows", (message) => {
    const { all, at, changed, gone } = JSON.parse(message.data);
    if (all) rows.clear();
    for (const name of gone) rows.delete(name);
    for (const row of changed) rows.set(key(row), row);
    told = at;
    isConnected = true;
    listeners.forEach((listener) => listener());
  });
  source.addEventListener("error", () => {
    isConnected = false;
    listeners.forEach((listener) => listener());
  });
};

/** All rows, by namespace and name. */
export const fleet = () => [...rows.values()].sort((a, b) => ORDER.compare(key(a), key(b)));

export const find = (namespace, kind, name) =>
  [...rows.values()].find((row) => row.namespace === namespace && row.kind.toLowerCase() === kind && row.name === name);

/** When the server last said something, and whether it still does. */
export const state = () => ({ told, isConnected });

/** Calls it at each change, until what is returned is called. */
export const listen = (listener) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};
