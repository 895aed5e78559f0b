// What hours and zero have saved since this replica of Tidegate began to lead.

import { ask, h, nothing, number, table } from "./dom.js";

const GIB = 2 ** 30;
const HOUR = 3600;

const cells = (namespace, saved) =>
  [namespace, ...[saved.replicaSeconds / HOUR, saved.cpuCoreSeconds / HOUR, saved.memoryByteSeconds / GIB / HOUR].map(number)];

export const savings = () => {
  const found = h("div", null, nothing("Asking."));
  const columns = [["Namespace"], ["Replica hours", true], ["Core hours", true], ["GiB hours of memory", true]];
  const draw = async () => {
    try {
      const all = Object.entries(await ask("savings"));
      const sum = (field) => all.reduce((total, [, saved]) => total + saved[field], 0);
      const total = { replicaSeconds: sum("replicaSeconds"), cpuCoreSeconds: sum("cpuCoreSeconds"), memoryByteSeconds: sum("memoryByteSeconds") };
      found.replaceChildren(all.length === 0
        ? nothing("Nothing was saved yet: no workload has hours or goes to zero, or the replica of Tidegate that answers does not lead.")
        : table("Savings", columns, [...all.map((entry) => cells(...entry)), cells("all", total)]));
    } catch (error) {
      found.replaceChildren(nothing(`The savings are not known: ${error.message}`));
    }
  };
  draw();
  return {
    title: "Savings",
    content: h("div", null, h("h1", null, "Savings"),
      h("p", { class: "soft" }, "Replicas that hours and zero took away, and the CPU and memory that they would have reserved, since this process leads. ",
        h("code", null, "tidegate savings --prometheus-url … --range 30d"), " looks further back."), found),
  };
};
