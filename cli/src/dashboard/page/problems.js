// What is wrong, for as long as it is.

import { ago, ask, h, link, nothing, table } from "./dom.js";

const AGAIN = 10_000;

export const problems = () => {
  const found = h("div", null, nothing("Asking."));
  const object = (problem) => [
    h("a", { href: link(problem) }, problem.name), h("small", null, [problem.namespace, problem.kind].filter(Boolean).join(" · "))];
  const draw = async () => {
    try {
      const { complete, problems: all } = await ask("problems");
      const row = (problem) => [object(problem), [h("strong", null, problem.reason), " ", problem.message], problem.since ? ago(problem.since) : ""];
      const columns = [["Object"], ["Problem", false, "why"], ["Since"]];
      found.replaceChildren(
        all.length === 0 ? nothing("Nothing is wrong.") : table("Problems", columns, all.map(row)),
        ...(complete ? [] : [nothing("The replica of Tidegate that answers does not lead: this is what signals and annotations show.")]));
    } catch (error) {
      found.replaceChildren(nothing(`The problems are not known: ${error.message}`));
    }
  };
  draw();
  const timer = setInterval(draw, AGAIN);
  return { title: "Problems", content: h("div", null, h("h1", null, "Problems"), found), ended: () => clearInterval(timer) };
};
