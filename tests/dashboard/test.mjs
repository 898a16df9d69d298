// What an operator does with the dashboard, in a real browser.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible as read, launch, picture as take } from "./browser.mjs";
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

let server;
let browser;
let page;
const foreign = [];
const broken = [];

before(async () => {
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

const accessible = (what) => read(page, what);
const picture = (name) => take(page, name);
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
  await picture("executions");
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
  await page.getByText("step did not run because of it").or(page.getByText("steps did not run")).waitFor();
  await accessible("a failed execution");
  await picture("failed");
});

test("a running execution is followed step by step, and its graph is walked with the keyboard", async () => {
  await page.getByRole("link", { name: "Executions", exact: true }).click();
  await row("release").getByRole("link").first().click();
  await page.getByRole("link", { name: "Step wait-for-slot: acting" }).waitFor();
  await picture("running");

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

test("workflows, plugins and health are shown", async () => {
  await page.getByRole("link", { name: "Workflows" }).click();
  await page.getByRole("row", { name: /nightly/ }).getByText("failed").waitFor();
  await page.getByRole("button", { name: "Run nightly" }).click();
  await accessible("workflows");

  await page.getByRole("link", { name: "Plugins" }).click();
  await page.getByRole("heading", { name: /infrastructure-enforcement/ }).waitFor();
  await page.getByRole("heading", { name: /manual-review/ }).waitFor();
  await accessible("plugins");
  await picture("plugins");

  await page.getByRole("link", { name: "Health" }).click();
  await page.getByText("healthy").waitFor();
  await page.getByRole("rowheader", { name: /release\/build/ }).waitFor();
  await page.getByLabel("Time").selectOption("all");
  await page.getByRole("rowheader", { name: /release\/build/ }).waitFor();
  await accessible("health");
  await picture("health");
});

test("the page finds its server again after a restart", async () => {
  await page.getByRole("link", { name: "Executions", exact: true }).click();
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
  await guest.goto(server.origin);

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

  await page.setViewportSize({ width: 380, height: 800 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false, "nothing has to be scrolled sideways but tables and the graph");
});

test("nothing was fetched from elsewhere, and nothing broke", () => {
  assert.deepEqual(foreign, []);
  assert.deepEqual(broken, []);
});
