// The week of each Calendar, and when it changes next.

import { ask, h, nothing, svg, zoned } from "./dom.js";

const DAY = 86_400;

const two = (value) => String(value).padStart(2, "0");
const clock = (second) => `${two(Math.floor(second / 3600))}:${two(Math.floor(second / 60) % 60)}`;

/** A day as a bar from 0 to 24 o'clock; `open` are its parts as seconds of the day. */
const day = ({ date, holiday, open }, now) => {
  const text = open.length === 0 ? "closed" : open.map(({ start, end }) => `${clock(start)} to ${clock(end)}`).join(", ");
  const weekday = new Date(`${date}T00:00:00Z`).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
  const bar = svg("svg", { viewBox: `0 0 ${DAY} 18`, preserveAspectRatio: "none", role: "img", "aria-label": text },
    svg("rect", { class: "shut", width: DAY, height: 18 }),
    open.map((part) => svg("rect", { class: "open", x: part.start, width: part.end - part.start, height: 18 })),
    now != null && svg("path", { class: "now", d: `M${now} 0V18` }));
  return h("tr", null, h("th", { scope: "row" }, weekday), h("td", null, bar), h("td", { class: "soft" }, text, holiday && " · holiday"));
};

const calendar = (one) => h("section", null,
  h("h2", null, one.name),
  h("p", null, h("strong", { class: `state ${one.open ? "steady" : "closed"}` }, one.open ? "open" : "closed"),
    one.nextChange ? ` until ${zoned(one.nextChange)}. ` : " for the years to come. ",
    h("code", null, one.hours), ` in ${one.timeZone}. Used by ${one.users} ${one.users === 1 ? "workload or Gateway" : "workloads and Gateways"}.`),
  h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `The week of ${one.name}` },
    h("table", { class: "week" }, h("caption", { class: "visually-hidden" }, `The week of ${one.name}`),
      h("tbody", null, one.days.map((each, index) => day(each, index === 0 ? one.secondOfDay : null))))));

export const calendars = () => {
  const found = h("div", null, nothing("Asking."));
  const draw = async () => {
    try {
      const all = await ask("calendars");
      found.replaceChildren(...(all.length === 0 ? [nothing("No hours are in use: annotate a workload or a namespace with tidegate.dev/hours or tidegate.dev/calendar.")] : all.map(calendar)));
    } catch (error) {
      found.replaceChildren(nothing(`The Calendars are not known: ${error.message}`));
    }
  };
  draw();
  return { title: "Calendars", content: h("div", null, h("h1", null, "Calendars and hours"), found) };
};
