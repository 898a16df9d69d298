"""Clients that are programs of their own: the Inspector in both eras over standard input and streamable HTTP, and
mcp-cli, which has an implementation of the protocol that is nobody else's, over standard input. One process is one
call, so they go through those scenarios that one call can.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import traceback

from serving import data_directory, serving_at, settings

KNOWN = json.loads((pathlib.Path(__file__).parent / "scenarios.json").read_text())
PATIENCE = 120

program, home, packages = (pathlib.Path(argument) for argument in sys.argv[1:])
root = home / "root"


def ran(command, codes=(0,), environment=None):
    """Runs a command to its end; returns what it wrote."""
    done = subprocess.run(
        [str(part) for part in command], cwd=root, env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )
    assert done.returncode in codes, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def keeps_work(data):
    """Keeps a workflow that has one step of work."""
    document = home / "work.json"
    document.write_text(json.dumps({"workflow_id": "work", "steps": KNOWN["workflows"]["work"]}))
    ran([program, "import", document], environment=settings(data))


class Inspector:
    """The Inspector's command line."""

    name = "Inspector 2.12.0"

    def __init__(self, era, target):
        self.era = era
        self._command = [packages / "node_modules/.bin/mcp-inspector", "--cli", *target, "--protocol-era", era]

    def _ran(self, method, *arguments, codes=(0,)):
        path = f"{packages}/node_modules/.bin:{os.environ['PATH']}"
        return ran([*self._command, "--method", method, *arguments], codes, {"PATH": path})

    def _asked(self, method, *arguments):
        return json.loads(self._ran(method, *arguments, "--format", "json", "-q").stdout)["result"]

    def _called(self, tool, *arguments):
        return self._asked("tools/call", "--tool-name", tool, *arguments)["structuredContent"]

    def greet(self):
        greeting = self._asked("initialize")
        assert greeting["serverInfo"]["name"] == KNOWN["server"], greeting
        assert "create_workflow" in greeting["instructions"], greeting

    def tools(self):
        # With `--strict` it ends with 6 when a schema is one that some clients cannot read; what it merely finds
        # unwise it writes down, and that counts too.
        done = self._ran("tools/list", "--strict")
        assert not re.search(r"\bwarning\b", done.stderr, re.IGNORECASE), done.stderr
        listed = {tool["name"]: tool for tool in json.loads(done.stdout)["tools"]}
        assert set(KNOWN["tools"]) <= listed.keys(), listed.keys()
        assert all("outputSchema" in tool for tool in listed.values())

    def call(self):
        assert self._called("get_system_health")["status"] == "healthy"

    def error(self):
        arguments = ["--tool-name", "get_workflow", "--tool-arg", "workflow_idd=work", "--format", "json", "-q"]
        done = self._ran("tools/call", *arguments, codes=(5,))
        assert "/workflow_idd: unknown argument; did you mean `workflow_id`?" in done.stdout, done.stdout
        assert "/workflow_id: required" in done.stdout, done.stdout

    def resource(self):
        listed = self._asked("resources/list")["resources"]
        assert "workflow://work" in [resource["uri"] for resource in listed], listed
        read = self._asked("resources/read", "--uri", "workflow://work")["contents"][0]
        assert json.loads(read["text"])["workflow_id"] == "work", read

    def prompt(self):
        filled = self._asked("prompts/get", "--prompt-name", "design_workflow", "--prompt-args", "goal=Ship it")
        assert "Ship it" in filled["messages"][0]["content"]["text"], filled

    def task(self):
        # It declares the extension in both eras; only in the newer one it can read a task, and follows it to its end.
        answer = self._called("execute_workflow", "--tool-arg", "workflow_id=work")
        if self.era == "legacy":
            assert answer["execution_id"], answer
            return "plain"
        assert answer["status"] == "completed" and answer["completed_steps"] == ["run"], answer
        return "task"


class McpCli:
    """mcp-cli, without a chat."""

    name = "mcp-cli 0.20.1"
    era = "legacy"

    def __init__(self, data):
        self._config = home / "server_config.json"
        server = {"command": str(program), "args": ["serve", "--stdio"], "env": settings(data)}
        self._config.write_text(json.dumps({"mcpServers": {"caelum": server}}))

    def _ran(self, command, *arguments):
        server = ["--server", "caelum", "--config-file", self._config]
        return ran([packages / "python-cli/bin/mcp-cli", command, *server, *arguments]).stdout

    def tools(self):
        listed = self._ran("tools", "--raw")
        missing = [tool for tool in KNOWN["tools"] if tool not in listed]
        assert not missing, listed

    def call(self):
        answered = self._ran("cmd", "--tool", "get_workflow", "--tool-args", '{"workflow_id": "work"}', "--raw")
        assert "work" in answered and "revision" in answered, answered


def tried(client, transport):
    outcomes = {}
    for scenario in KNOWN["scenarios"]:
        try:
            outcomes[scenario] = (getattr(client, scenario)() or "yes") if hasattr(client, scenario) else "none"
        except Exception:
            print(f"clients: {client.name}, {transport}, {client.era}, {scenario}:", file=sys.stderr)
            traceback.print_exc()
            outcomes[scenario] = "FAILED"
    line = {"client": client.name, "transport": transport, "era": client.era, "outcomes": outcomes}
    print(json.dumps(line), flush=True)


def main():
    with data_directory(home) as data:
        keeps_work(data)
        handed = [part for name, value in settings(data).items() for part in ("-e", f"{name}={value}")]
        # It hands on no environment but what it is told to.
        stdio = [program, "serve", "--stdio", "--connect-timeout", str(PATIENCE * 1000), *handed]
        for era in ("legacy", "modern"):
            tried(Inspector(era, stdio), "stdio")
        tried(McpCli(data), "stdio")
        with serving_at(program, home, data) as address:
            for era in ("legacy", "modern"):
                tried(Inspector(era, [f"http://{address}/mcp"]), "http")


main()
