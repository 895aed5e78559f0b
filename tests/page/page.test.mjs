// The page in a headless Chromium, shown by the real `tidegate scaler`, whose proxy is a page of Envoy's statistics: `make test-page`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSocket } from "node:net";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PICTURES = process.env.TIDEGATE_PAGE_PICTURES;
const CLUSTER = "httproute/shop/tasks/rule/0";
const VIEWS = { fleet: "#/", workload: "#/shop/deployment/task-api", calendars: "#/calendars", savings: "#/savings", problems: "#/problems" };

let envoy, tidegate, browser, address;
const began = Date.now();

// 740 requests/s, as Envoy's counter shows them: 8 replicas of 100.
const statistics = () => `# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="${CLUSTER}"} ${Math.round(740 * (Date.now() - began) / 1000)}
# TYPE envoy_cluster_membership_total gauge
envoy_cluster_membership_total{envoy_cluster_name="${CLUSTER}"} 1
# TYPE envoy_cluster_membership_healthy gauge
envoy_cluster_membership_healthy{envoy_cluster_name="${CLUSTER}"} 1
# TYPE envoy_server_uptime gauge
envoy_server_uptime{} ${Math.round((Date.now() - began) / 1000)}
`;

const free = () => new Promise((resolve) => {
  const socket = createSocket().listen(0, "127.0.0.1", () => {
    const { port } = socket.address();
    socket.close(() => resolve(port));
  });
});

/** Waits until the admin server has read the manifests. */
const answers = async () => {
  const deadline = Date.now() + 30_000;
  while (!(await fetch(`${address}fleet`).then((answer) => answer.ok, () => false))) {
    assert.ok(Date.now() < deadline, "tidegate does not answer within 30 s");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

before(async () => {
  envoy = createServer((_, answer) => answer.writeHead(200, { "content-type": "text/plain" }).end(statistics()));
  await new Promise((resolve) => envoy.listen(0, "127.0.0.1", resolve));
  const [admin, scaler] = [await free(), await free()];
  address = `http://127.0.0.1:${admin}/`;
  tidegate = spawn(process.env.TIDEGATE, [
    "scaler", "-f", `${import.meta.dirname}/manifests.yaml`, "--proxy", `127.0.0.1:${envoy.address().port}`,
    "--admin-address", `127.0.0.1:${admin}`, "--grpc-address", `127.0.0.1:${scaler}`,
  ], { stdio: ["ignore", "inherit", "inherit"] });
  tidegate.on("exit", (code) => code && console.error(`tidegate ended with ${code}`));
  await answers();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  });
});

after(async () => {
  await browser?.close();
  tidegate?.kill();
  envoy?.close();
});

const open = async (view, options = {}) => {
  // The policy of the page does not let axe in.
  const context = await browser.newContext({ bypassCSP: true, viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(address + view);
  return { page, errors, close: () => context.close() };
};

test("the fleet shows each workload with what it wants and why, and follows what is typed", async () => {
  const { page, errors, close } = await open("#/");
  const row = page.getByRole("row", { name: /task-api/ });
  await row.getByText("74", { exact: false }).first().waitFor();
  await page.waitForFunction(() => /\b8\b/.test(document.querySelector('td[data-label="Wanted"]')?.textContent ?? "") ||
    [...document.querySelectorAll("tr")].some((tr) => /task-api/.test(tr.textContent) && /8/.test(tr.children[2]?.textContent)));
  assert.equal(await page.getByRole("row").count(), 4);
  await page.getByRole("searchbox").fill("reports");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await page.getByRole("searchbox").fill("");
  await page.getByRole("button", { name: /invalid 1/ }).click();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1 && /mistaken/.test(document.querySelector("tbody").textContent));
  assert.deepEqual(errors, []);
  await close();
});

test("from a row one comes to the workload's history and to the route that its traffic comes by", async () => {
  const { page, errors, close } = await open("#/");
  await page.getByRole("button", { name: /invalid 1/ }).waitFor();
  await page.getByRole("link", { name: "task-api" }).click();
  await page.getByRole("heading", { level: 1, name: /task-api/ }).waitFor();
  await page.getByText(CLUSTER).first().waitFor();
  await page.getByRole("group", { name: "Replicas over time" }).waitFor();
  assert.deepEqual(errors, []);
  await close();
});

test("the calendar of hours shows seven days, and a mistake stands among the problems", async () => {
  const calendars = await open("#/calendars");
  await calendars.page.getByText("Mo-Fr 08:00-18:00").first().waitFor();
  assert.equal(await calendars.page.locator(".week tr").count(), 7);
  await calendars.close();
  const problems = await open("#/problems");
  await problems.page.getByRole("row", { name: /mistaken.*many/ }).waitFor();
  await problems.close();
});

test("all of it is reached by the keyboard", async () => {
  const { page, close } = await open("#/");
  await page.getByRole("link", { name: "task-api" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: /task-api/ }).waitFor();
  const mark = page.locator(".mark").first();
  await mark.focus();
  await page.waitForFunction(() => /→/.test(document.querySelector(".detail").textContent));
  await close();
});

test("no view has a violation of accessibility or is wider than the window, in light and dark", async () => {
  if (PICTURES) mkdirSync(PICTURES, { recursive: true });
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [360, 800, 1280]) {
      const { page, errors, close } = await open("#/", { viewport: { width, height: 900 }, colorScheme });
      await page.getByText("live", { exact: true }).waitFor();
      await page.evaluate(AXE);
      for (const [name, view] of Object.entries(VIEWS)) {
        await page.evaluate((hash) => { location.hash = hash; }, view);
        await page.waitForFunction(() => document.querySelector("h1") && !document.body.textContent.includes("Asking."));
        const found = await page.evaluate(async () => (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`));
        const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.deepEqual({ found, errors, beyond: Math.max(0, beyond) }, { found: [], errors: [], beyond: 0 }, `${name}, ${width} px, ${colorScheme}`);
        if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name}-${width}-${colorScheme}.png` });
      }
      await close();
    }
  }
});
