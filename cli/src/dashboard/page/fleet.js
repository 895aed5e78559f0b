// All workloads and Gateways, searched and filtered.

import { h, link, nothing, number, svg, table, words, zoned } from "./dom.js";
import { fleet, listen, state } from "./live.js";

/** Rows that are drawn at first, and more with each press: ten thousand at once would take the browser seconds. */
const STEP = 200;
// Kept while other views are shown.
const chosen = { text: "", namespace: "", state: "" };

/** The demand that decides: the signal with the largest need. */
const decisive = (row) =>
  row.signals.reduce((best, signal) => ((signal.replicas ?? -1) > (best?.replicas ?? -1) ? signal : best), row.signals[0]);

const demand = (row) => {
  const signal = decisive(row);
  if (!signal) return "";
  return [`${number(signal.demand)} ${signal.unit}`, h("small", null, `${number(signal.perReplica)} per replica`)];
};

/** Past numbers as a line. Where nothing is known there is a gap. */
export const sparkline = (past, name) => {
  const known = past.filter((value) => value != null);
  if (known.length < 2) return "";
  const [most, step] = [Math.max(...known, 1), 96 / (past.length - 1)];
  let path = "";
  past.forEach((value, index) => {
    if (value == null) return;
    const [x, y] = [index * step, 22 - (20 * value) / most];
    path += past[index - 1] == null ? `M${x} ${y}` : `H${x}V${y}`;
  });
  const label = `Replicas wanted for ${name} in the last hour: from ${Math.min(...known)} to ${Math.max(...known)}`;
  return svg("svg", { class: "spark", viewBox: "0 0 96 24", role: "img", "aria-label": label }, svg("path", { d: path }));
};

const cells = (row) => [
  [h("a", { href: link(row) }, row.name), h("small", null, `${row.namespace} · ${row.kind}`)],
  h("span", { class: `state ${row.state}` }, words(row.state)),
  number(row.wanted),
  [number(row.replicas.ready ?? row.replicas.current), row.bounds && h("small", null, `${row.bounds.min} to ${row.bounds.max}`)],
  demand(row),
  sparkline(row.past, row.name),
  row.why,
  row.hours ? [words(row.hours.phase), row.hours.nextChange && h("small", null, `until ${zoned(row.hours.nextChange)}`)] : "",
];

const COLUMNS = [["Name"], ["State"], ["Wanted", true], ["Has", true], ["Demand", true], ["Last hour"], ["Why", false, "why"], ["Hours"]];

const fits = (row, without) =>
  (without === "namespace" || !chosen.namespace || row.namespace === chosen.namespace) &&
  (without === "state" || !chosen.state || row.state === chosen.state) &&
  `${row.namespace}/${row.kind}/${row.name} ${row.why}`.toLowerCase().includes(chosen.text.toLowerCase());

export const fleetView = () => {
  let shown = STEP;
  const counted = h("p", { class: "soft", role: "status" });
  const rows = h("div");
  const chips = h("div", { class: "chips", role: "group", "aria-label": "State" });
  const namespaces = h("select", { "aria-label": "Namespace", onchange: (event) => choose("namespace", event.target.value) });
  const search = h("input", {
    type: "search", placeholder: "Name, namespace or reason", "aria-label": "Search", value: chosen.text,
    oninput: (event) => choose("text", event.target.value),
  });

  const choose = (what, value) => {
    chosen[what] = value;
    shown = STEP;
    draw();
  };

  const drawChips = (all) => {
    const counts = Map.groupBy(all.filter((row) => fits(row, "state")), (row) => row.state);
    const names = [...new Set([...counts.keys(), ...(chosen.state ? [chosen.state] : [])])].sort();
    const focused = chips.contains(document.activeElement) && document.activeElement.dataset.state;
    chips.replaceChildren(...names.map((name) => h("button", {
      type: "button", "data-state": name, "aria-pressed": String(chosen.state === name),
      onclick: () => choose("state", chosen.state === name ? "" : name),
    }, `${words(name)} ${counts.get(name)?.length ?? 0}`)));
    // A button that is drawn again keeps the keyboard.
    if (focused) [...chips.children].find((button) => button.dataset.state === focused)?.focus();
  };

  const drawNamespaces = (all) => {
    const names = [...new Set(all.map((row) => row.namespace))].sort();
    const options = ["", ...names];
    if (options.join() === [...namespaces.options].map((option) => option.value).join()) return;
    namespaces.replaceChildren(...options.map((name) => h("option", { value: name, selected: name === chosen.namespace }, name || "all namespaces")));
  };

  const draw = () => {
    const all = fleet();
    const fitting = all.filter((row) => fits(row));
    drawChips(all);
    drawNamespaces(all);
    const text = `${fitting.length} of ${all.length} workloads and Gateways`;
    if (counted.textContent !== text) counted.textContent = text;
    const focused = rows.contains(document.activeElement) && document.activeElement.getAttribute("href");
    if (!state().told) rows.replaceChildren(nothing("Waiting for the first answer of Tidegate."));
    else if (all.length === 0) rows.replaceChildren(nothing("No workload is annotated yet: give one tidegate.dev/requests-per-second, what one replica carries."));
    else {
      const more = fitting.length > shown && h("p", null, h("button", { type: "button", onclick: () => { shown += STEP; draw(); } }, `${STEP} more`));
      rows.replaceChildren(...[table("Workloads and Gateways", COLUMNS, fitting.slice(0, shown).map(cells)), more].filter(Boolean));
    }
    if (focused) rows.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  };

  draw();
  const content = h("div", null, h("h1", null, "Fleet"), h("div", { class: "tools" }, search, namespaces, chips), counted, rows);
  return { title: "Fleet", content, ended: listen(draw) };
};
