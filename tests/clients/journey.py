"""What every client does with the server: list the tools, run a workflow to its end, make mistakes."""

import contextlib
import itertools
import os
import pathlib
import re
import subprocess
import threading
import time

GUIDE = {
    "create_workflow", "get_workflow", "list_workflows", "execute_workflow", "get_workflow_status",
    "apply_pattern", "list_patterns", "validate_pattern_application", "distribute_task",
    "get_task_status", "aggregate_task_results", "get_system_health", "get_workflow_metrics",
    "export_workflow_data",
}

_numbers = itertools.count()


async def journey(tools, call, wait_with_progress):
    """Goes the way of a client.

    `tools` maps names to output schemas; `call(name, arguments)` answers `(is_error, structured, text)`;
    `wait_with_progress(name, arguments)` the same and how many reports of progress came meanwhile.
    """
    missing = GUIDE - tools.keys()
    assert not missing, f"tools of the guide that are missing: {missing}"
    assert all(schema is not None for schema in tools.values()), "a tool without an output schema"

    workflow = f"client-{os.getpid()}-{next(_numbers)}"
    steps = [
        {"id": "build", "type": "development",
         "action": {"kind": "command", "shell": True, "program": "sleep 0.3; echo '{\"tag\": \"v1\"}'"}},
        {"id": "announce", "type": "deployment", "dependencies": ["build"],
         "action": {"kind": "manual", "instructions": "announce {{ steps.build.outputs.tag }}"}},
    ]

    async def good(name, arguments):
        is_error, structured, text = await call(name, arguments)
        assert not is_error, f"{name}: {text}"
        assert isinstance(structured, dict) and text, f"{name}: {structured!r} {text!r}"
        return structured

    created = await good("create_workflow", {"workflow_id": workflow, "steps": steps})
    assert created["status"] == "success", created
    started = await good("execute_workflow", {"workflow_id": workflow})
    execution = started["execution_id"]
    arguments = {"execution_id": execution, "wait_s": 30, "wait_until": "settled"}
    is_error, status, text, reports = await wait_with_progress("get_workflow_status", arguments)
    assert not is_error, text
    assert reports > 0, "nothing was reported while the call waited"
    assert status["status"] == "paused", status
    asked = status["waiting_for"][0]
    assert asked["instructions"] == "announce v1", asked
    report = asked["next_call"]["arguments"] | {"performer": "ada", "summary": "done"}
    await good(asked["next_call"]["tool"], report)
    done = await good("get_workflow_status", arguments)
    assert done["status"] == "completed", done

    is_error, structured, text = await call("create_workflow", {"workflow_id": 7, "stepps": []})
    assert is_error and structured is None, structured
    for fault in ("/workflow_id", "/steps: required", "/stepps: unknown", "did you mean `steps`"):
        assert fault in text, text
    health = await good("get_system_health", {})
    assert health["status"] == "healthy", health


def settings():
    """Returns the settings of this run, for clients that hand on no environment."""
    return {name: value for name, value in os.environ.items() if name.startswith("CAELUM_WORKFLOW_")}


@contextlib.contextmanager
def serving(program, home):
    """Runs the server on any free port and gives its `host:port`."""
    process = subprocess.Popen(
        [program, "serve", "--port", "0"],
        cwd=pathlib.Path(home) / "root", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )
    log, found = [], threading.Event()
    address = None

    def read():
        nonlocal address
        for line in process.stderr:
            log.append(line)
            if address is None and "listening" in line:
                match = re.search(r"127\.0\.0\.1:\d+", line)
                address = match and match[0]
                found.set()
        found.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        found.wait(60)
        assert address, "the server does not say where it listens:\n" + "".join(log)
        yield address
    except BaseException:
        print("".join(log))
        raise
    finally:
        began = time.monotonic()
        process.terminate()
        code = process.wait(30)
        reader.join()
        assert code == 0, f"the server ended with {code}:\n" + "".join(log)
        assert time.monotonic() - began < 20, "the server took long to stop"
