// The frame: which view the address names, and whether the data is live.

import { calendars } from "./calendars.js";
import { h } from "./dom.js";
import { fleetView } from "./fleet.js";
import { connect, fleet, listen, state } from "./live.js";
import { problems } from "./problems.js";
import { savings } from "./savings.js";
import { objectView } from "./object.js";

const main = document.getElementById("main");
let leave = () => {};

const VIEWS = { "": fleetView, calendars, savings, problems };

const view = () => {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (parts.length === 3) return () => objectView(...parts);
  return VIEWS[parts[0]] ?? (() => ({ title: "Not found", content: h("p", null, "There is no such page. ", h("a", { href: "#/" }, "The fleet")) }));
};

/** Shows the view that the address names; `leave` ends what the last one keeps up to date. */
const show = () => {
  leave();
  const { title, content, ended = () => {} } = view()();
  leave = ended;
  main.replaceChildren(content);
  document.title = title === "Fleet" ? "Tidegate" : `${title} · Tidegate`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === (location.hash || "#/")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
};

const liveness = () => {
  const { told, isConnected } = state();
  const live = document.getElementById("live");
  const text = isConnected ? "live" : told ? `no connection since ${new Date(told).toLocaleTimeString("en-GB")}: trying again` : "no connection yet: trying";
  // A status is read aloud: only when it changes.
  if (live.textContent !== text) live.textContent = text;
  live.classList.toggle("lost", !isConnected);
  const count = fleet().filter((row) => row.problems.length > 0).length;
  const badge = document.getElementById("problem-count");
  badge.textContent = count;
  badge.hidden = count === 0;
};

addEventListener("hashchange", () => {
  // The skip link leads to `#main`, which is no view.
  if (location.hash === "#main") return;
  show();
  main.focus();
  scrollTo(0, 0);
});
listen(liveness);
connect();
show();
