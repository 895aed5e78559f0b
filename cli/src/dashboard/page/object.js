// One workload or Gateway: its numbers, its history, and the chain from routes to replicas.

import { chart } from "./chart.js";
import { ask, h, nothing, number, table, time, words, zoned } from "./dom.js";
import { find, listen } from "./live.js";

const RANGES = [["1h", "1 h"], ["6h", "6 h"], ["24h", "24 h"], ["168h", "7 d"]];
/** Between two looks at what the live rows do not have. */
const AGAIN = 15_000;
let range = "24h";

const tile = (title, value, note) => h("div", null, h("dt", null, title), h("dd", null, value, note && [" ", h("small", null, note)]));

const tiles = (row) => h("dl", { class: "tiles" },
  tile("State", h("span", { class: `state ${row.state}` }, words(row.state))),
  tile("Wanted", number(row.wanted), row.limit && `by ${words(row.limit)}`),
  tile("Ready", number(row.replicas.ready ?? row.replicas.current), row.replicas.ready != null && `of ${row.replicas.current}`),
  row.bounds && tile("Bounds", `${row.bounds.min} to ${row.bounds.max}`),
  row.hours && tile("Hours", words(row.hours.phase), row.hours.nextChange && `until ${zoned(row.hours.nextChange)}`));

const signals = (row) => row.signals.length > 0 && [
  h("h2", null, "Demand"),
  table("Demand", [["Signal"], ["Demand", true], ["One replica carries", true], ["Replicas", true]], row.signals.map((signal) =>
    [signal.signal, `${number(signal.demand)} ${signal.unit}`, number(signal.perReplica), number(signal.replicas)]))];

/** A reference as it is written elsewhere, whichever form the JSON has it in. */
const reference = (value) => (typeof value === "string" ? value : [value.kind, [value.namespace, value.name].filter(Boolean).join("/"), value.rule != null && `rule ${value.rule}`].filter(Boolean).join(" "));

const cluster = ({ name, part, readings }) => h("div", { class: "soft" },
  h("code", null, name), part < 1 ? ` (${number(part * 100)} % of it)` : "",
  readings.map((reading) => `: ${reading.value == null ? reading.problem ?? "nothing" : `${number(reading.value)} ${reading.signal}`}`));

const traffic = (explained) => explained.traffic?.length > 0 && [
  h("h2", null, "Where its traffic comes from"),
  h("ol", { class: "chain" }, explained.traffic.map((rule) => h("li", null,
    reference(rule.route), h("span", { class: "arrow" }, "→"), `Service ${reference(rule.service)}`,
    rule.share < 1 && ` (${number(rule.share * 100)} %)`, rule.clusters.map(cluster))))];

const list = (title, texts, kind) => texts?.length > 0 && [h("h2", null, title), h("ul", { class: `problems ${kind}` }, texts.map((text) => h("li", null, text)))];

const changesTable = (changes) => [
  h("h2", null, "Changes"),
  table("Changes", [["Time"], ["Wanted", true], ["Why", false, "why"], ["What changed"]], changes.toReversed().slice(0, 200).map((change) =>
    [time(change.at), `${change.from ?? "–"} → ${change.to ?? "–"}`, change.sentence, change.who]))];

export const objectView = (namespace, kind, name) => {
  const path = [namespace, kind, name].map(encodeURIComponent).join("/");
  const [now, past, why] = [h("div"), h("div"), h("div")];
  let isShown = true;

  const drawNow = () => {
    const row = find(namespace, kind, name);
    const parts = row ? [h("p", { class: "lead" }, row.why), tiles(row), signals(row)] : [nothing("It is not among the workloads that Tidegate scales.")];
    now.replaceChildren(...parts.flat().filter(Boolean));
  };

  const ranges = h("div", { class: "chips", role: "group", "aria-label": "Period" }, RANGES.map(([value, text]) => h("button", {
    type: "button", value, "aria-pressed": String(value === range),
    onclick: (event) => {
      range = value;
      for (const button of ranges.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      drawPast();
    },
  }, text)));

  const drawPast = async () => {
    try {
      const { changes } = await ask(`history/${path}?since=${range}`);
      if (!isShown || past.contains(document.activeElement)) return;
      const to = Date.now();
      const begin = to - Number.parseInt(range, 10) * 3_600_000;
      const parts = changes.length > 0 ? [chart(changes, Math.max(begin, new Date(changes[0].at).getTime()), to), changesTable(changes)] : [nothing("Nothing changed in this period, as far as it is remembered.")];
      past.replaceChildren(...parts.flat().filter(Boolean));
    } catch (error) {
      past.replaceChildren(nothing(`Its history is not there: ${error.message}`));
    }
  };

  const drawWhy = async () => {
    try {
      const explained = await ask(`explain/${path}?format=json`);
      const parts = [list("Problems", explained.problems, ""), list("Worth knowing", explained.notices, "notices"), traffic(explained)];
      why.replaceChildren(...parts.flat().filter(Boolean));
    } catch (error) {
      why.replaceChildren(nothing(`Why it has these replicas is not known: ${error.message}`));
    }
  };

  const isGateway = kind === "gateway";
  const again = () => { drawWhy(); if (!isGateway) drawPast(); };
  const timer = setInterval(again, AGAIN);
  const silence = listen(drawNow);
  drawNow();
  again();
  const content = h("div", null,
    h("h1", null, name, h("small", null, `${kind} in namespace ${namespace}`)), now,
    !isGateway && [h("h2", null, "History"), h("div", { class: "tools" }, ranges), past], why);
  return { title: name, content, ended: () => { isShown = false; silence(); clearInterval(timer); } };
};
