"""Two testers from PyPI look at how the server takes what no client should send: mcpcheck, strictly, and mcp-fuzzer, which
calls every tool with what does not fit.

Of the fuzzer's findings those count that are wrong: calls that do not fit the tool's schema and were taken, crashes,
errors of our own, and tools that did not answer. It also finds fault with calls that do fit, with answers that repeat
what was wrong (a message that does not is no help), with calls that are answered otherwise the second time (a backup
under a name that is taken by then), and with how long things took.
"""

import json
import pathlib
import subprocess
import sys
import urllib.request

import jsonschema
from serving import serving

PATIENCE = 300
SEED = "7"
COUNTED = ["crash", "hang", "internal_error", "oversized_response", "accepted_malformed"]

program, home, packages = (pathlib.Path(argument) for argument in sys.argv[1:])
tools = packages / "python-testers" / "bin"


def ran(command):
    done = subprocess.run(
        [str(part) for part in command], cwd=home, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=PATIENCE, check=False,
    )
    print(f"{command}\n{done.stdout}\n{done.stderr}", file=sys.stderr)
    return done


def checked(url):
    done = ran([tools / "mcpcheck", url, "--legacy-probes", "--strict"])
    assert done.returncode == 0, f"mcpcheck objects:\n{done.stdout}"


def schemas(url):
    """Returns the schema of each tool's arguments."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "testers", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    head = {
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
        "Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list",
    }
    asked = urllib.request.Request(url, json.dumps(request).encode(), head)
    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
        listed = json.load(answer)["result"]["tools"]
    return {tool["name"]: tool["inputSchema"] for tool in listed}


def fits(schema, arguments):
    """Leaving out and null mean the same to the server."""
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    return jsonschema.Draft202012Validator(schema).is_valid(given)


def fuzzed(url):
    output = home / "fuzzed"
    known = schemas(url)
    ran([
        tools / "mcp-fuzzer", "--mode", "tools", "--phase", "aggressive", "--protocol", "streamablehttp",
        "--endpoint", url, "--runs", "4", "--seed", SEED, "--timeout", "30", "--tool-timeout", "20",
        "--no-network", "--no-corpus", "--output-dir", output, "--fs-root", home / "fuzzed-files",
    ])
    findings = json.loads((output / "findings.json").read_text())["findings"]
    wrong = []
    for finding in findings:
        category, evidence = finding["category"], finding["evidence"]
        if category not in COUNTED:
            continue
        if category == "accepted_malformed" and fits(known[finding["target"]], evidence.get("input")):
            continue
        wrong.append(json.dumps(finding)[:600])
    assert not wrong, f"mcp-fuzzer, seed {SEED}:\n" + "\n".join(wrong)


with serving(str(program), home) as address:
    checked(f"http://{address}/mcp")
    fuzzed(f"http://{address}/mcp")
