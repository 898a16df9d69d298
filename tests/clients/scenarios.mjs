// What every client of the TypeScript stacks does with the server, one function an idea: the same as in scenarios.py.
// The ideas and what they share with the other language stand in scenarios.json; how a client does it is an adapter's
// business.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const KNOWN = JSON.parse(readFileSync(new URL("scenarios.json", import.meta.url), "utf8"));

// How long one scenario may take before it counts as a hang, in milliseconds.
export const PATIENCE_MS = 60_000;

let number = 0;

async function good(client, tool, args, note) {
  const { isError, structured, text } = await client.call(tool, args, note);
  assert(!isError, `${tool}: ${text}`);
  assert(structured && text, `${tool}: ${JSON.stringify(structured)} ${text}`);
  return structured;
}

async function kept(client, kind) {
  const workflow = `${kind}-${process.pid}-${number++}`;
  const created = await good(client, "create_workflow", { workflow_id: workflow, steps: KNOWN.workflows[kind] });
  assert.equal(created.status, "success");
  return workflow;
}

async function started(client, kind) {
  const workflow_id = await kept(client, kind);
  return (await good(client, "execute_workflow", { workflow_id })).execution_id;
}

const settled = (execution_id) => ({ execution_id, wait_s: 30, wait_until: "settled" });
const looked = (execution_id) => ({ execution_id, step_id: "look", performer: "ann", summary: "looked" });
const includes = (all, some) => assert.deepEqual(some.filter((one) => !all.includes(one)), []);

const SCENARIOS = {
  async greet(client) {
    const hello = client.hello();
    assert.equal(hello.version, KNOWN.versions[client.era]);
    assert.equal(hello.server, KNOWN.server);
    assert.match(hello.instructions, /create_workflow/);
    includes(hello.capabilities, KNOWN.capabilities);
  },

  async tools(client) {
    const listed = await client.tools();
    includes(Object.keys(listed), KNOWN.tools);
    assert(Object.values(listed).every(Boolean), "a tool without an output schema");
  },

  async call(client) {
    const workflow_id = await kept(client, "build");
    const read = await good(client, "get_workflow", { workflow_id });
    assert.deepEqual(read.steps.map((step) => step.id), ["build", "announce"]);
    assert.equal((await good(client, "get_system_health", {})).status, "healthy");
  },

  async error(client) {
    const { tool, arguments: wrong, faults } = KNOWN.mistake;
    const { isError, structured, text } = await client.call(tool, wrong);
    assert(isError && structured === undefined, text);
    for (const fault of faults) assert(text.includes(fault), text);
    const refused = await client.call("no_such_tool", {}).then(
      () => assert.fail("the call was not refused"),
      (error) => error,
    );
    assert.equal(refused.code, -32602, refused);
    assert.match(refused.message, /no_such_tool/);
  },

  async progress(client) {
    const execution = await started(client, "build");
    const status = await good(client, "get_workflow_status", settled(execution));
    assert.equal(status.status, "paused");
    // Nothing more happens by itself, so this call waits for certain.
    const wait = { execution_id: execution, wait_s: 1, after_event: status.event_count };
    const reports = [];
    await good(client, "get_workflow_status", wait, (report) => reports.push(report));
    assert(reports.length > 0, "nothing was reported while the call waited");
    const [asked] = status.waiting_for;
    assert.equal(asked.instructions, "announce v1");
    await good(client, asked.next_call.tool, { ...asked.next_call.arguments, performer: "ada", summary: "done" });
    const done = await good(client, "get_workflow_status", settled(execution));
    assert.equal(done.status, "completed");
  },

  async cancel(client) {
    const execution_id = await started(client, "review");
    const status = await good(client, "get_workflow_status", settled(execution_id));
    const enough = new AbortController();
    const wait = { execution_id, wait_s: 30, after_event: status.event_count };
    await assert.rejects(client.call("get_workflow_status", wait, () => enough.abort("enough"), enough.signal));
    assert(enough.signal.aborted, "the call failed by itself");
    const again = await good(client, "get_workflow_status", { execution_id });
    assert.equal(again.event_count, status.event_count);
  },

  async resource(client) {
    const workflow = await kept(client, "work");
    const address = `workflow://${workflow}`;
    includes(await client.resources(), [address]);
    includes(await client.templates(), KNOWN.templates);
    assert.equal(JSON.parse(await client.read(address)).workflow_id, workflow);
  },

  async subscription(client) {
    const execution = await started(client, "review");
    const address = `execution://${execution}`;
    const told = new Promise((resolve) => (client.updated = resolve));
    const leave = await client.watch(address);
    await good(client, "complete_step", looked(execution));
    assert.equal(await told, address);
    await leave();
  },

  async prompt(client) {
    includes(await client.prompts(), KNOWN.prompts);
    assert.match(await client.prompt("design_workflow", { goal: "Ship it" }), /Ship it/);
  },

  async completion(client) {
    const execution = await started(client, "review");
    const prompt = { type: "ref/prompt", name: "diagnose_execution" };
    includes(await client.complete(prompt, "execution_id", execution.slice(0, -2)), [execution]);
    const template = { type: "ref/resource", uri: "pattern://{pattern_name}" };
    includes(await client.complete(template, "pattern_name", "manual"), ["manual-review"]);
  },

  async review(client) {
    const execution = await started(client, "review");
    await good(client, "complete_step", looked(execution));
    const asked = [];
    client.person = (params) => {
      asked.push(params);
      return { decision: "approved", reviewer: "bob", reason: "seen it" };
    };
    const status = await good(client, "get_workflow_status", settled(execution));
    assert.equal(asked.length, 1);
    assert.match(asked[0].message, /Step `look`/);
    assert.deepEqual(asked[0].requestedSchema.required, ["decision", "reviewer"]);
    assert.equal(status.status, "completed");
  },

  async task(client) {
    // Neither SDK hands on a task by itself; the Inspector, which can, follows one.
    const workflow_id = await kept(client, "work");
    const answer = await good(client, "execute_workflow", { workflow_id });
    const done = await good(client, "get_workflow_status", settled(answer.execution_id));
    assert.equal(done.status, "completed");
    return "plain";
  },
};
assert.deepEqual(Object.keys(SCENARIOS), Object.keys(KNOWN.scenarios));

// Does not keep the process from ending by itself.
function late(scenario) {
  return new Promise((_, reject) => {
    const failed = () => reject(new Error(`${scenario} is not done after ${PATIENCE_MS} ms`));
    setTimeout(failed, PATIENCE_MS).unref();
  });
}

/** Goes through all scenarios with one connected client; prints what came of it as a line of JSON. */
export async function run(client, name, transport) {
  const outcomes = {};
  for (const [scenario, goes] of Object.entries(SCENARIOS)) {
    try {
      outcomes[scenario] = (await Promise.race([goes(client), late(scenario)])) ?? "yes";
    } catch (error) {
      console.error(`clients: ${name}, ${transport}, ${client.era}, ${scenario}:`, error);
      outcomes[scenario] = "FAILED";
    }
  }
  console.log(JSON.stringify({ client: name, transport, era: client.era, outcomes }));
}
