// What a person does with the execution view inside of another program.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { accessible, launch, picture } from "../dashboard/browser.mjs";
import { LIMIT, serve } from "../dashboard/server.mjs";
import { pages } from "./pages.mjs";

const require = createRequire(join(process.env.MODULES, "x.js"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { Client, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
const { getToolUiResourceUri, RESOURCE_MIME_TYPE } = await import(
  pathToFileURL(join(process.env.MODULES, "@modelcontextprotocol/ext-apps/dist/src/app-bridge.js"))
);

const EXTENSION = "io.modelcontextprotocol/ui";
const root = join(process.env.HOME, "root");
const command = (line) => ({ kind: "command", program: "sh", args: ["-c", line] });

/** A release whose middle waits for a file, and whose end waits for people. */
const RELEASE = {
  workflow_id: "release",
  steps: [
    { id: "build", type: "development", action: command("echo '{\"tag\": \"v1.4.0\"}'"), validation: "command-succeeded" },
    { id: "wait-for-slot", type: "integration", dependencies: ["build"], action: command("until [ -e slot ]; do sleep 0.05; done") },
    { id: "lint", type: "validation", dependencies: ["build"], action: command("true"), validation: "command-succeeded" },
    {
      id: "sign-off",
      type: "validation",
      dependencies: ["wait-for-slot", "lint"],
      action: command("echo ready: {{ steps.build.outputs.tag }}"),
      validation: "manual-review",
    },
    { id: "announce", type: "deployment", dependencies: ["sign-off"], action: { kind: "manual", instructions: "Announce {{ steps.build.outputs.tag }}" } },
  ],
};

let server;
let browser;
let origins;
let client;
let view;
const foreign = [];
const broken = [];
const called = [];

before(async () => {
  server = await serve();
  origins = await pages();
  browser = await launch();
  client = await connect("auto");
  await server.call("create_workflow", RELEASE);
});

after(async () => {
  await browser?.close();
  await client?.close();
  origins?.close();
  await server?.stop();
});

/** Connects the protocol's own client, which says that it shows views. */
async function connect(mode, mimeTypes = [RESOURCE_MIME_TYPE]) {
  const connected = new Client(
    { name: "test-host", version: "1" },
    { capabilities: { extensions: { [EXTENSION]: { mimeTypes } } }, versionNegotiation: { mode } },
  );
  await connected.connect(new StreamableHTTPClientTransport(new URL(`${server.origin}/mcp`)));
  return connected;
}

/** Shows the view that a tool refers to in a page of its own; returns the page and the view's frame. */
async function open({ capabilities = { serverTools: {}, updateModelContext: { text: {} } }, context = {}, ...options } = {}) {
  const { tools } = await client.listTools();
  const uri = getToolUiResourceUri(tools.find((tool) => tool.name === "execute_workflow"));
  const { contents } = await client.readResource({ uri });
  const inside = await browser.newContext({ viewport: { width: 900, height: 900 }, ...options });
  const page = await inside.newPage();
  page.setDefaultTimeout(LIMIT);
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(origins.host) && !url.startsWith(origins.sandbox)) foreign.push(url);
  });
  page.on("pageerror", (error) => broken.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("favicon")) broken.push(message.text());
  });
  await page.exposeFunction("callTool", (params) => {
    called.push(params);
    return client.callTool(params);
  });
  await page.goto(origins.host);
  await page.evaluate((shown) => globalThis.show(shown), {
    sandbox: origins.sandbox,
    html: contents[0].text,
    capabilities,
    context: { theme: "light", displayMode: "inline", ...context },
  });
  const inner = await page.frameLocator("#view iframe").locator("iframe").elementHandle();
  const frame = await inner.contentFrame();
  return { page, frame, close: () => inside.close() };
}

/** Calls a tool as the model does, and tells the view of it as the client does. */
async function callFor({ page }, name, args) {
  const result = await client.callTool({ name, arguments: args });
  await page.evaluate(
    async ([input, output]) => {
      await globalThis.bridge.sendToolInput({ arguments: input });
      await globalThis.bridge.sendToolResult(output);
    },
    [args, result],
  );
  return result.structuredContent;
}

const asked = ({ page }) => page.evaluate(() => globalThis.asked);

test("a client of either era learns of the view by what the two agreed on, and one that shows none does not", async () => {
  for (const mode of ["auto", "legacy"]) {
    const showing = await connect(mode);
    const mute = await connect(mode, ["text/other"]);

    const referring = (await showing.listTools()).tools.filter(getToolUiResourceUri).map((tool) => tool.name);
    const [uri] = (await showing.listTools()).tools.map(getToolUiResourceUri).filter(Boolean);
    const { contents } = await showing.readResource({ uri });

    assert.deepEqual(referring.sort(), ["control_execution", "execute_workflow", "get_workflow_status"], mode);
    assert.equal(contents[0].mimeType, RESOURCE_MIME_TYPE);
    assert.deepEqual(contents[0]._meta.ui.csp, {});
    assert.ok(EXTENSION in showing.getServerCapabilities().extensions, mode);
    assert.deepEqual((await mute.listTools()).tools.filter(getToolUiResourceUri), [], mode);
    await showing.close();
    await mute.close();
  }
});

test("the view shows the execution that the tool began and follows it", async () => {
  view = await open();
  await callFor(view, "execute_workflow", { workflow_id: "release" });

  await view.frame.getByRole("heading", { name: "release", exact: true }).waitFor();
  await view.frame.getByRole("link", { name: "Step wait-for-slot: acting" }).waitFor();
  writeFileSync(join(root, "slot"), "");
  await view.frame.getByRole("link", { name: "Step wait-for-slot: completed" }).waitFor();
  await view.frame.getByRole("heading", { name: "Step sign-off waits for a review" }).waitFor();
  await accessible(view.frame, "the view");
  await picture(view.page, "app");

  const waits = called.filter((call) => call.arguments.wait_s);
  assert.ok(waits.length > 0, "it waits for news and does not ask again and again");
  assert.ok(waits.every((call) => call.arguments.ask === false), "nobody is asked twice for what the view shows");
});

test("the graph is walked with the keyboard, and links stay inside of the view", async () => {
  await view.frame.getByRole("link", { name: "Step build: completed" }).focus();
  await view.page.keyboard.press("Enter");

  await view.frame.getByRole("heading", { name: "Step build ·" }).waitFor();
  await view.frame.getByText("Outputs").waitFor();
  await view.frame.getByRole("link", { name: "all steps" }).click();
  await view.frame.getByRole("heading", { name: "Steps", exact: true }).waitFor();
  assert.equal(view.page.url(), `${origins.host}/`);
});

test("a review is approved and work is reported in the view, and the model is told", async () => {
  const { frame } = view;
  await frame.getByRole("button", { name: "Approve" }).click();
  await frame.getByRole("heading", { name: "Step sign-off waits for a review" }).waitFor();
  await frame.getByLabel("Your name").fill("ada");
  await frame.getByLabel("Why").fill("read it, it is right");
  await frame.getByRole("button", { name: "Approve" }).click();
  await frame.getByRole("heading", { name: "Step announce waits for work" }).waitFor();
  assert.equal(await frame.getByLabel("Your name").inputValue(), "ada", "a name is given once");
  await frame.getByLabel("What you did").fill("posted it");
  await frame.getByRole("button", { name: "Report as done" }).click();
  await frame.locator("header.head .status").filter({ hasText: "completed" }).waitFor();

  await view.page.waitForFunction(() => globalThis.asked.some(({ model }) => model?.includes("completed, 5 of 5 steps")));
  const told = (await asked(view)).map(({ model }) => model).filter(Boolean);
  assert.ok(told.some((text) => text.includes("step sign-off waits for review")), told.join("\n"));
});

test("the view ends when its client takes it away", async () => {
  await view.page.evaluate(() => globalThis.bridge.teardownResource({}));

  await view.frame.getByRole("heading").first().waitFor({ state: "detached" });
  await view.close();
});

test("a step is cancelled only after a second word, and the keyboard is led to the way back", async () => {
  view = await open();
  await server.call("create_workflow", { workflow_id: "long", steps: [{ id: "sleep", type: "integration", action: command("sleep 60") }] });
  await callFor(view, "execute_workflow", { workflow_id: "long" });

  await view.frame.getByRole("button", { name: "Cancel" }).click();
  await view.frame.getByRole("group", { name: /Cancel it/ }).waitFor();
  await view.page.keyboard.press("Enter");
  await view.frame.getByRole("group", { name: /Cancel it/ }).waitFor({ state: "detached" });
  await view.frame.getByRole("button", { name: "Cancel" }).click();
  await view.frame.getByRole("group", { name: /Cancel it/ }).getByRole("button", { name: "Cancel" }).click();
  await view.frame.locator("header.head .status").filter({ hasText: "cancelled" }).waitFor();
  await view.close();
});

test("a client that lets no tools through still shows what the tool answered", async () => {
  const still = await open({ capabilities: {} });
  const before = called.length;
  const { execution_id } = await server.call("execute_workflow", { workflow_id: "release" });
  await server.call("get_workflow_status", { execution_id, wait_s: 30, wait_until: "settled" });
  await callFor(still, "get_workflow_status", { execution_id });

  await still.frame.getByRole("heading", { name: "Step sign-off waits for a review" }).waitFor();
  assert.equal(await still.frame.getByRole("button").count(), 0, "nothing is offered that would not work");
  assert.equal(called.length, before);
  await still.close();
});

test("a dry run, an error and a cancelled call are told", async () => {
  const dry = await open();
  await callFor(dry, "execute_workflow", { workflow_id: "release", dry_run: true });
  await dry.frame.getByRole("rowheader", { name: "sign-off" }).waitFor();
  await accessible(dry.frame, "a dry run");
  await dry.close();

  const wrong = await open();
  await callFor(wrong, "get_workflow_status", { execution_id: "ex_unheard_of" });
  await wrong.frame.getByRole("alert").getByText("ex_unheard_of").first().waitFor();
  await wrong.close();

  const given = await open();
  await given.page.evaluate(() => globalThis.bridge.sendToolCancelled({ reason: "the person said stop" }));
  await given.frame.getByRole("alert").getByText("the person said stop").waitFor();
  await given.close();
});

test("the view looks as its client looks, is as large as it needs, and grows when it may", async () => {
  const dark = await open({
    colorScheme: "dark",
    context: {
      theme: "dark",
      availableDisplayModes: ["inline", "fullscreen"],
      styles: { variables: { "--color-background-primary": "rgb(20, 20, 40)" } },
    },
  });
  const { execution_id } = await server.call("execute_workflow", { workflow_id: "release" });
  await callFor(dark, "get_workflow_status", { execution_id });
  await dark.frame.getByRole("heading", { name: "release", exact: true }).waitFor();

  const ground = () => dark.frame.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(await ground(), "rgb(20, 20, 40)");
  await accessible(dark.frame, "the view in the dark");
  await dark.page.waitForFunction(() => globalThis.asked.some(({ height }) => height > 300));
  const cut = await dark.frame.evaluate(() => document.documentElement.scrollHeight - innerHeight);
  assert.ok(cut <= 1, `${cut} pixels are cut off`);
  await dark.page.evaluate(() => globalThis.bridge.setHostContext({ theme: "light" }));
  await dark.frame.waitForFunction(() => document.documentElement.style.colorScheme === "light");
  await dark.frame.getByRole("button", { name: "Full screen" }).click();
  await dark.frame.getByRole("button", { name: "Full screen" }).waitFor({ state: "detached" });
  assert.deepEqual((await asked(dark)).find(({ mode }) => mode), { mode: "fullscreen" });
  await dark.close();
});

test("nothing was fetched from elsewhere, and nothing broke", () => {
  assert.deepEqual(foreign, []);
  assert.deepEqual(broken, []);
});
