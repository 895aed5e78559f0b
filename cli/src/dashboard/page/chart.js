// The wanted number of replicas over time, with what was ready, closed hours, and each decision as a mark.

import { clock, h, number, svg, time } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [960, 280, 40, 12, 12, 26];

/** At most six whole numbers from 0 on. */
const replicaTicks = (most) => {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((size) => most / size <= 5) ?? 10_000;
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, index) => index * step);
};

const timeTicks = (from, to) => {
  const hour = 3_600_000;
  const step = [hour / 12, hour / 4, hour / 2, hour, 3 * hour, 6 * hour, 24 * hour, 48 * hour].find((size) => (to - from) / size <= 8) ?? 168 * hour;
  const first = Math.ceil(from / step) * step;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, index) => first + index * step);
};

/** Periods between changes, each with what held in it. */
const periods = (changes, from, to) =>
  changes.map((change, index) => ({
    change,
    start: Math.max(from, new Date(change.at).getTime()),
    end: index + 1 < changes.length ? new Date(changes[index + 1].at).getTime() : to,
  })).filter(({ start, end }) => end > start);

/** `changes` are those of the answer to `history/…`, oldest first. */
export const chart = (changes, from, to) => {
  const numbers = changes.flatMap(({ from: before, to: after, replicas }) => [before ?? 0, after ?? 0, replicas.ready, replicas.wanted]);
  const ticks = replicaTicks(Math.max(1, ...numbers));
  const most = ticks.at(-1);
  const x = (at) => LEFT + ((at - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const y = (replicas) => HEIGHT - BOTTOM - (replicas / most) * (HEIGHT - TOP - BOTTOM);
  const all = periods(changes, from, to);
  const band = (name) => ({ start, end }) =>
    svg("rect", { class: name, x: x(start), y: TOP, width: x(end) - x(start), height: HEIGHT - TOP - BOTTOM });
  const closed = all.filter(({ change }) => change.why.phase === "closed").map(band("closed-hours"));
  const unknown = all.filter(({ change }) => change.to == null).map(band("not-known"));
  const ready = all.map(({ change, start, end }) => `M${x(start)} ${y(0)}V${y(change.replicas.ready)}H${x(end)}V${y(0)}Z`).join("");
  let wanted = "";
  let last = null;
  for (const { change, start, end } of all) {
    if (change.to == null) { last = null; continue; }
    wanted += last == null ? `M${x(start)} ${y(change.to)}` : `V${y(change.to)}`;
    wanted += `H${x(end)}`;
    last = change.to;
  }

  const detail = h("p", { class: "detail", role: "status" }, "Point at a mark, or reach it with Tab and the arrow keys: it says why.");
  const told = (change) => `${time(change.at)}: ${change.from ?? "unknown"} → ${change.to ?? "unknown"}. ${change.sentence}`;
  const marks = changes.filter((change) => change.from !== change.to && new Date(change.at) >= from).map((change, index) =>
    svg("g", {
      class: "mark", tabindex: index === 0 ? "0" : "-1", role: "img", "aria-label": told(change),
      onfocus: () => detail.replaceChildren(told(change)),
      onmouseenter: () => detail.replaceChildren(told(change)),
      onkeydown: (event) => {
        const next = { ArrowRight: event.currentTarget.nextElementSibling, ArrowLeft: event.currentTarget.previousElementSibling }[event.key];
        if (!next?.classList.contains("mark")) return;
        event.preventDefault();
        event.currentTarget.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      },
    }, svg("circle", { cx: x(new Date(change.at).getTime()), cy: y(change.to ?? change.from ?? 0), r: 4.5 })));

  const asTime = (at) => (to - from > 172_800_000 ? new Date(at).toLocaleDateString("en-GB", { weekday: "short", day: "numeric" }) : clock(at));
  const picture = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "Replicas over time" },
    closed, unknown,
    ticks.map((tick) => [svg("path", { class: "grid", d: `M${LEFT} ${y(tick)}H${WIDTH - RIGHT}` }), svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, number(tick))]),
    timeTicks(from, to).map((at) => svg("text", { x: x(at), y: HEIGHT - 8, "text-anchor": "middle" }, asTime(at))),
    svg("path", { class: "ready", d: ready }), svg("path", { class: "wanted", d: wanted }), marks);
  const legend = [["wanted", "replicas wanted"], ["ready", "ready"], closed.length && ["closed-hours", "outside hours"], unknown.length && ["not-known", "demand not known: nothing is taken away"]];
  return h("figure", null, h("figcaption", null, legend.filter(Boolean).map(([name, text]) => h("span", null, h("i", { class: name }), text))), picture, detail);
};
