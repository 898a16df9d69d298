"""What every client of the Python stacks does with the server, one function an idea. The ideas and what they share with
the other language stand in `scenarios.json`; how a client does it is an adapter's business.
"""

import itertools
import json
import os
import pathlib
import sys
import traceback

KNOWN = json.loads((pathlib.Path(__file__).parent / "scenarios.json").read_text())

# How long one scenario may take before it counts as a hang, in seconds.
PATIENCE = 60

_numbers = itertools.count()


async def _good(client, tool, arguments, note=None):
    is_error, structured, text = await client.call(tool, arguments, note)
    assert not is_error, f"{tool}: {text}"
    assert isinstance(structured, dict) and text, f"{tool}: {structured!r} {text!r}"
    return structured


async def _kept(client, kind):
    """Keeps a workflow of that kind under a name of its own, and returns the name."""
    workflow = f"{kind}-{os.getpid()}-{next(_numbers)}"
    steps = KNOWN["workflows"][kind]
    created = await _good(client, "create_workflow", {"workflow_id": workflow, "steps": steps})
    assert created["status"] == "success", created
    return workflow


async def _started(client, kind):
    workflow = await _kept(client, kind)
    return (await _good(client, "execute_workflow", {"workflow_id": workflow}))["execution_id"]


def _settled(execution):
    return {"execution_id": execution, "wait_s": 30, "wait_until": "settled"}


def _looked(execution):
    return {"execution_id": execution, "step_id": "look", "performer": "ann", "summary": "looked"}


async def greet(client):
    hello = client.hello()
    assert hello["version"] == KNOWN["versions"][client.era], hello
    assert hello["server"] == KNOWN["server"], hello
    assert "create_workflow" in hello["instructions"], hello
    assert set(KNOWN["capabilities"]) <= set(hello["capabilities"]), hello


async def tools(client):
    listed = await client.tools()
    missing = set(KNOWN["tools"]) - listed.keys()
    assert not missing, f"tools of the guide that are missing: {missing}"
    assert all(schema is not None for schema in listed.values()), "a tool without an output schema"


async def call(client):
    workflow = await _kept(client, "build")
    read = await _good(client, "get_workflow", {"workflow_id": workflow})
    assert [step["id"] for step in read["steps"]] == ["build", "announce"], read
    health = await _good(client, "get_system_health", {})
    assert health["status"] == "healthy", health


async def error(client):
    mistake = KNOWN["mistake"]
    is_error, structured, text = await client.call(mistake["tool"], mistake["arguments"])
    assert is_error and structured is None, structured
    for fault in mistake["faults"]:
        assert fault in text, text
    code, message = await client.refused("no_such_tool", {})
    assert code == -32602 and "no_such_tool" in message, (code, message)


async def progress(client):
    execution = await _started(client, "build")
    status = await _good(client, "get_workflow_status", _settled(execution))
    assert status["status"] == "paused", status
    # Nothing more happens by itself, so this call waits for certain.
    wait = {"execution_id": execution, "wait_s": 1, "after_event": status["event_count"]}
    reports = []
    await _good(client, "get_workflow_status", wait, reports.append)
    assert reports, "nothing was reported while the call waited"
    asked = status["waiting_for"][0]
    assert asked["instructions"] == "announce v1", asked
    report = asked["next_call"]["arguments"] | {"performer": "ada", "summary": "done"}
    await _good(client, asked["next_call"]["tool"], report)
    done = await _good(client, "get_workflow_status", _settled(execution))
    assert done["status"] == "completed", done


async def cancel(client):
    execution = await _started(client, "review")
    status = await _good(client, "get_workflow_status", _settled(execution))
    wait = {"execution_id": execution, "wait_s": 30, "after_event": status["event_count"]}
    await client.cancelled("get_workflow_status", wait)
    again = await _good(client, "get_workflow_status", {"execution_id": execution})
    assert again["event_count"] == status["event_count"], again


async def resource(client):
    workflow = await _kept(client, "work")
    address = f"workflow://{workflow}"
    assert address in await client.resources()
    assert set(KNOWN["templates"]) <= set(await client.templates())
    read = json.loads(await client.read(address))
    assert read["workflow_id"] == workflow, read


async def subscription(client):
    execution = await _started(client, "review")
    address = f"execution://{execution}"
    async with client.watching(address) as told:
        await _good(client, "complete_step", _looked(execution))
        assert await told() == address


async def prompt(client):
    assert set(KNOWN["prompts"]) <= set(await client.prompts())
    text = await client.prompt("design_workflow", {"goal": "Ship it"})
    assert "Ship it" in text, text


async def completion(client):
    execution = await _started(client, "review")
    in_prompt = await client.complete_prompt("diagnose_execution", "execution_id", execution[:-2])
    assert execution in in_prompt, in_prompt
    in_template = await client.complete_template("pattern://{pattern_name}", "pattern_name", "manual")
    assert "manual-review" in in_template, in_template


async def review(client):
    execution = await _started(client, "review")
    await _good(client, "complete_step", _looked(execution))
    asked = []

    def person(message, schema):
        asked.append((message, schema))
        return {"decision": "approved", "reviewer": "bob", "reason": "seen it"}

    client.person = person
    status = await _good(client, "get_workflow_status", _settled(execution))
    client.person = None
    assert len(asked) == 1, asked
    message, schema = asked[0]
    assert "Step `look`" in message and schema["required"] == ["decision", "reviewer"], asked
    assert status["status"] == "completed", status


async def task(client):
    workflow = await _kept(client, "work")
    if not client.follows_tasks:
        answer = await _good(client, "execute_workflow", {"workflow_id": workflow})
        # To its end, so that the server has nothing more to tell when the client leaves.
        done = await _good(client, "get_workflow_status", _settled(answer["execution_id"]))
        assert done["status"] == "completed", done
        return "plain"
    followed, answer = await client.followed("execute_workflow", {"workflow_id": workflow})
    assert followed["taskId"] == answer["execution_id"], (followed, answer)
    assert answer["status"] == "completed" and answer["completed_steps"] == ["run"], answer
    return "task"


SCENARIOS = [
    greet, tools, call, error, progress, cancel, resource, subscription, prompt, completion, review, task,
]
assert [scenario.__name__ for scenario in SCENARIOS] == list(KNOWN["scenarios"])


async def run(anyio, client, name, transport, era):
    """Goes through all scenarios with one connected client; prints what came of it as a line of JSON."""
    outcomes = {}
    for scenario in SCENARIOS:
        try:
            with anyio.fail_after(PATIENCE):
                outcomes[scenario.__name__] = await scenario(client) or "yes"
        except Exception:
            print(f"clients: {name}, {transport}, {era}, {scenario.__name__}:", file=sys.stderr)
            traceback.print_exc()
            outcomes[scenario.__name__] = "FAILED"
    line = {"client": name, "transport": transport, "era": era, "outcomes": outcomes}
    print(json.dumps(line), flush=True)
