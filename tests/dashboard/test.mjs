// What an operator does with the dashboard, in a real browser.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test as run } from "node:test";
import { accessible as read, launch, picture as take } from "./browser.mjs";
import { past } from "./past.mjs";
import { LIMIT, serve } from "./server.mjs";

const root = join(process.env.HOME, "root");

/** A release with a row of real steps: one waits for a file, one fails, one waits for somebody. */
const RELEASE = {
  workflow_id: "release",
  description: "Builds, tests and announces a release",
  steps: [
    {
      id: "build",
      type: "development",
      action: { kind: "command", program: "sh", args: ["-c", "echo compiling; echo '{\"tag\": \"v1.4.0\"}'"] },
      validation: "command-succeeded",
    },
    {
      id: "wait-for-slot",
      type: "integration",
      dependencies: ["build"],
      action: { kind: "command", program: "sh", args: ["-c", "until [ -e slot ]; do sleep 0.05; done; echo a slot"] },
    },
    {
      id: "lint",
      type: "validation",
      dependencies: ["build"],
      action: { kind: "command", program: "true" },
      validation: "command-succeeded",
    },
    {
      id: "sign-off",
      type: "validation",
      dependencies: ["wait-for-slot", "lint"],
      action: { kind: "command", program: "echo", args: ["ready: {{ steps.build.outputs.tag }}"] },
      validation: "manual-review",
    },
    {
      id: "announce",
      type: "deployment",
      dependencies: ["sign-off"],
      action: { kind: "manual", instructions: "Announce {{ steps.build.outputs.tag }}" },
    },
  ],
};

const BROKEN = {
  workflow_id: "nightly",
  steps: [
    {
      id: "suite",
      type: "validation",
      action: { kind: "command", program: "sh", args: ["-c", "echo 2 of 90 tests failed >&2; exit 3"] },
      validation: "command-succeeded",
    },
    { id: "report", type: "deployment", dependencies: ["suite"], action: { kind: "command", program: "true" } },
  ],
};

const COMPOSE = `services:
  db:
    image: postgres:17
  web:
    image: nginx:1.29
    depends_on: [db]
`;
const data = join(process.env.HOME, "data");
const shop = join(root, "shop");
const compose = join(shop, "compose.yaml");

let server;
let browser;
let page;
const foreign = [];
const broken = [];

before(async () => {
  mkdirSync(data, { mode: 0o700 });
  mkdirSync(shop);
  writeFileSync(compose, COMPOSE);
  writeFileSync(join(data, "components.toml"), `[components.shop]\ndirectory = ${JSON.stringify(shop)}\n`);
  server = await serve();
  browser = await launch();
  page = await newPage();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function newPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const opened = await context.newPage();
  opened.setDefaultTimeout(LIMIT);
  opened.on("request", (request) => {
    if (!request.url().startsWith(server.origin)) foreign.push(request.url());
  });
  opened.on("pageerror", (error) => broken.push(String(error)));
  return opened;
}

/** A test that says what the page showed when it fails. */
function test(name, does) {
  run(name, async () => {
    try {
      await does();
    } catch (error) {
      error.message += `\n${page.url()} shows:\n${await page.innerText("body").catch(String)}`;
      throw error;
    }
  });
}

const accessible = (what) => read(page, what);
const picture = (name, options) => take(page, name, options);
const standing = (status) => page.locator("header.head .status").filter({ hasText: status }).waitFor();
const row = (workflow) => page.getByRole("row").filter({ hasText: workflow });

test("an empty server says what would fill the page", async () => {
  await page.goto(server.origin);

  await page.getByText("Nothing has run yet").waitFor();
  await page.getByText("live", { exact: true }).waitFor();
  await accessible("the empty page");
});

let release;

test("an execution appears and moves on without a reload", async () => {
  await server.call("create_workflow", RELEASE);
  await server.call("create_workflow", BROKEN);
  await server.call("execute_workflow", { workflow_id: "nightly" });
  release = (await server.call("execute_workflow", { workflow_id: "release" })).execution_id;

  await row("nightly").getByText("failed").waitFor();
  await row("release").getByText("executing").waitFor();
  await row("release").getByText("2/5").waitFor();
  await accessible("the list");
});

test("the list is filtered by status and by workflow, and the filter is part of the address", async () => {
  await page.getByLabel("Status").selectOption("failed");
  await row("release").waitFor({ state: "detached" });
  await row("nightly").waitFor();
  await page.reload();
  await row("nightly").waitFor();
  assert.equal(await row("release").count(), 0);

  await page.getByLabel("Status").selectOption("");
  await page.getByLabel("Workflow").fill("release");
  await page.getByLabel("Workflow").press("Enter");
  await row("nightly").waitFor({ state: "detached" });
  await row("release").waitFor();

  await page.getByLabel("Workflow").fill("unheard-of");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByText("No execution fits.").waitFor();
  await page.getByRole("link", { name: "Show all" }).click();
  await row("nightly").waitFor();
});

test("a failed execution shows why, with what the program said", async () => {
  await row("nightly").getByRole("link").first().click();

  await page.getByRole("heading", { name: /Step suite failed/ }).waitFor();
  await page.getByText("2 of 90 tests failed", { exact: true }).waitFor();
  await page.getByText("1 step did not run because of it").waitFor();
  await accessible("a failed execution");
  await picture("failed");
});

test("a running execution is followed step by step, and its graph is walked with the keyboard", async () => {
  await page.getByRole("link", { name: "Executions", exact: true }).click();
  await row("release").getByRole("link").first().click();
  await page.getByRole("link", { name: "Step wait-for-slot: acting" }).waitFor();

  writeFileSync(join(root, "slot"), "");

  await page.getByRole("link", { name: "Step wait-for-slot: completed" }).waitFor();
  await page.getByRole("heading", { name: "Step sign-off waits for a review" }).waitFor();
  await page.getByRole("link", { name: "Step sign-off: awaiting review" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Step sign-off ·" }).waitFor();
  await page.getByRole("link", { name: "all steps" }).click();
  await accessible("an execution that waits");
  await picture("review");
});

test("a review is approved and work is reported, and the execution ends", async () => {
  await page.getByLabel("Your name").fill("ada");
  await page.getByLabel("Why").fill("read it, it is right");
  await page.getByRole("button", { name: "Approve" }).click();

  await page.getByRole("heading", { name: "Step announce waits for work" }).waitFor();
  await page.getByText("Announce v1.4.0").waitFor();
  assert.equal(await page.getByLabel("Your name").inputValue(), "ada", "a name is given once");
  await page.getByLabel("What you did").fill("posted it");
  await page.getByRole("button", { name: "Report as done" }).click();
  await standing("completed");

  const status = await server.call("get_workflow_status", { execution_id: release });
  assert.equal(status.status, "completed");
});

test("a mistake is told in the tool's own words", async () => {
  const { execution_id } = await server.call("execute_workflow", { workflow_id: "release" });
  await page.goto(`${server.origin}/#/executions/${execution_id}`);
  await page.getByRole("heading", { name: "Step sign-off waits for a review" }).waitFor();
  await server.call("control_execution", { execution_id, action: "cancel", reason: "test" });
  await standing("cancelled");

  await page.goto(`${server.origin}/#/executions/ex_unheard_of`);
  await page.getByRole("alert").getByText("ex_unheard_of").waitFor();
});

test("workflows are shown and run", async () => {
  await page.getByRole("link", { name: "Workflows" }).click();
  await page.getByRole("row", { name: /nightly/ }).getByText("failed").waitFor();
  await page.getByRole("button", { name: "Run nightly" }).click();
  await accessible("workflows");
});

test("a refused plugin is told with the stage, the reason and what helps, as soon as it lies there", async () => {
  await page.getByRole("link", { name: "Plugins" }).click();
  await page.getByRole("heading", { name: /infrastructure-enforcement/ }).waitFor();
  await page.getByRole("heading", { name: /manual-review/ }).waitFor();

  const file = join(data, "plugins", "broken.wasm");
  writeFileSync(file, "this is no plugin");

  const refused = page.getByRole("region", { name: "Refused files" });
  await refused.getByText("broken.wasm").first().waitFor();
  await refused.getByText("was refused at the stage").waitFor();
  await refused.locator(".hint").waitFor();
  await accessible("plugins");
  await picture("plugins");
  rmSync(file);
  await refused.waitFor({ state: "detached" });
});

test("a pattern is planned on a component whose name is completed, and a mistake is told in the form", async () => {
  await page.getByRole("link", { name: "Applications", exact: true }).click();
  await page.getByText("No pattern was applied yet.").waitFor();
  await page.getByRole("link", { name: "Apply a pattern" }).click();
  await page.getByLabel("Pattern", { exact: false }).first().selectOption("health-check");
  await page.getByLabel("Your name").fill("ada");
  await page.getByLabel("Component").fill("nowhere");
  await page.getByRole("button", { name: "Show what would change" }).click();
  await page.getByRole("alert").getByText("nowhere").first().waitFor();

  await page.getByLabel("Component").fill("sh");
  await page.locator("datalist#components option[value=shop]").waitFor({ state: "attached" });
  await page.getByLabel("Component").fill("shop");
  await page.getByText("Parameters").click();
  await page.getByLabel("interval_s").fill("20");
  await page.getByLabel(/^tool/).selectOption("curl");
  await page.getByLabel("targets").fill("compose, dockerfile");
  await accessible("the form");
  await page.getByRole("button", { name: "Show what would change" }).click();

  await page.getByRole("heading", { name: "What would change" }).waitFor();
  await standing("planned");
  await page.locator(".diff .added").first().waitFor();
  await page.getByText("by ada").waitFor();
  await page.getByText('"targets":["compose","dockerfile"]').waitFor();
  assert.equal(readFileSync(compose, "utf8"), COMPOSE, "a plan writes nothing");
  await accessible("a plan");
});

test("exactly what was shown is applied, drift is told file by file, and all of it is taken back", async () => {
  await page.getByRole("button", { name: "Apply exactly this" }).click();
  await page.getByRole("group", { name: /Write/ }).getByRole("button", { name: "Apply exactly this" }).click();
  await page.getByRole("heading", { name: "What changed" }).waitFor();
  await standing("applied");
  const applied = readFileSync(compose, "utf8");
  assert.notEqual(applied, COMPOSE);
  const shown = await page.locator(".diff .added").allTextContents();
  for (const line of shown.map((each) => each.replace(/^\d+\+/, "").trim()).filter(Boolean)) {
    assert.ok(applied.includes(line) || line.startsWith("{") || line.includes('"'), `shown and not written: ${line}`);
  }
  await accessible("an application");
  await picture("application");

  writeFileSync(compose, `${applied}# changed by hand\n`);
  await page.getByRole("link", { name: "← Applications" }).click();
  await page.getByRole("row", { name: /health-check.*applied/ }).getByText("modified").waitFor();
  await page.getByLabel("Now").selectOption("modified");
  await page.getByRole("row", { name: /planned/ }).waitFor({ state: "detached" });
  await accessible("the applications");
  await page.getByRole("link", { name: "health-check" }).click();
  await page.getByRole("region", { name: "What has drifted" }).getByText("compose.yaml").waitFor();

  writeFileSync(compose, applied);
  await page.getByRole("button", { name: "Take it back" }).click();
  await page.getByRole("group", { name: /Restore/ }).getByRole("button", { name: "Take it back" }).click();
  await standing("reverted");
  assert.equal(readFileSync(compose, "utf8"), COMPOSE);
});

test("figures over time are drawn, told as tables, and narrowed to a workflow", async () => {
  const check = (id, program) => ({
    workflow_id: id,
    steps: [{ id: "suite", type: "validation", action: { kind: "command", program }, validation: "command-succeeded" }],
  });
  await server.call("create_workflow", check("checks", "true"));
  await server.call("create_workflow", check("flaky", "false"));
  for (const workflow_id of ["checks", "flaky"]) await server.call("execute_workflow", { workflow_id, wait_s: 30 });
  await past(server, "checks", { runs: 160, hours: 23 });
  await past(server, "flaky", { runs: 30, hours: 23 });

  await page.getByRole("link", { name: "Metrics" }).click();
  const ended = page.getByRole("figure", { name: "Executions that ended" });
  await ended.getByText("As a table").click();
  const rows = ended.getByRole("row");
  await page.waitForFunction(() => document.querySelectorAll(".chart table tbody tr").length >= 15);
  const completed = (await rows.locator("td:nth-child(2)").allTextContents()).map(Number).reduce((sum, each) => sum + each, 0);
  assert.ok(completed >= 161, `${completed} completed`);
  await ended.getByText("As a table").click();
  await page.getByRole("figure", { name: "Judgements of gates" }).waitFor();
  await page.getByRole("figure", { name: "How long executions took" }).waitFor();
  await page.getByRole("rowheader", { name: /checks\/suite/ }).waitFor();
  await accessible("metrics");
  await picture("metrics", { fullPage: true });

  await page.getByLabel("Workflow").fill("flaky");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("rowheader", { name: /checks\/suite/ }).waitFor({ state: "detached" });
  await page.getByRole("rowheader", { name: /flaky\/suite/ }).first().waitFor();
  await page.getByLabel("Time").selectOption("all");
  await page.getByRole("rowheader", { name: /flaky\/suite/ }).first().waitFor();
  await page.getByLabel("Workflow").fill("unheard-of");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("alert").getByText("unheard-of").first().waitFor();
});

test("health tells how the server is and what its machines do", async () => {
  await page.getByRole("link", { name: "Health" }).click();
  await page.getByText("healthy").waitFor();
  await page.getByRole("rowheader", { name: /local/ }).waitFor();
  await accessible("health");
});

test("the page finds its server again after a restart", async () => {
  await page.goto(`${server.origin}/#/executions?workflow=nightly`);
  await row("nightly").first().waitFor();
  await server.stop("SIGKILL");
  await page.getByText("connection lost").waitFor();

  server = await serve(server.port);

  await page.getByText("live", { exact: true }).waitFor();
  const { execution_id } = await server.call("execute_workflow", { workflow_id: "nightly" });
  await page.getByRole("link", { name: execution_id.slice(0, 14) }).first().waitFor();
});

test("a wrong token is asked for again, and the right one opens the page", async () => {
  const guest = await newPage();
  await guest.addInitScript(() => {
    if (!sessionStorage.getItem("caelum-token")) sessionStorage.setItem("caelum-token", "wrong");
  });
  await guest.goto(`${server.origin}/#/executions?workflow=nightly`);

  await guest.getByLabel("Token").fill(server.token());
  await guest.getByRole("button", { name: "Go on" }).click();

  await guest.getByRole("row").filter({ hasText: "nightly" }).first().waitFor();
  await guest.context().close();
});

test("it is as readable in the dark and on a small screen", async () => {
  await page.context().close();
  page = await newPage({ colorScheme: "dark", viewport: { width: 1280, height: 860 } });
  await page.goto(`${server.origin}/#/executions/${release}`);
  await standing("completed");
  await accessible("an execution in the dark");
  await picture("dark");
  for (const [path, heading] of [["metrics", "Metrics"], ["applications", "Applications"], ["plugins", "Plugins"]]) {
    await page.goto(`${server.origin}/#/${path}`);
    await page.getByRole("heading", { name: heading, exact: true }).waitFor();
    await page.getByText("Loading…").waitFor({ state: "detached" });
    await accessible(`${path} in the dark`);
  }
  await page.goto(`${server.origin}/#/metrics`);
  await page.getByRole("figure").first().waitFor();

  await page.setViewportSize({ width: 380, height: 800 });
  for (const path of [`executions/${release}`, "metrics", "applications", "apply", "plugins", "health"]) {
    await page.goto(`${server.origin}/#/${path}`);
    await page.getByRole("heading").first().waitFor();
    await page.getByText("Loading…").waitFor({ state: "detached" });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${path}: nothing has to be scrolled sideways but tables and the graph, not ${wide} pixels`);
  }
});

test("nothing was fetched from elsewhere, and nothing broke", () => {
  assert.deepEqual(foreign, []);
  assert.deepEqual(broken, []);
});
