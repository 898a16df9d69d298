#!/usr/bin/env python3
"""Measures our server beside others that speak MCP, by the same caller in the same run, and puts it into
`target/bench/report.json`.

    bench/transports.py [--bench PROGRAM] [--without-peers]

The caller is a bench of the server (`host/server/benches/transports/`). The other servers come from PyPI and npm into
`target/bench/peers`; one that cannot be installed is left out, and the report says why. Takes about three minutes once
everything is built.
"""

import argparse
import json
import pathlib
import subprocess
import sys

# Beside this file nothing is written.
sys.dont_write_bytecode = True
import run  # noqa: E402

PEERS = run.BENCH / "peers"
NODE = "node@22"

# How long building the bench may take, and how long all figures may.
BUILD_SECONDS = 3600
MEASURE_SECONDS = 900


def fastmcp():
    command = [run.python_with("fastmcp"), str(PEERS / "mcp_fastmcp.py")]
    return command, True


def typescript(generation, packages):
    """Installs packages from npm; returns how the server that is made with them is run."""
    home = run.INSTALLED / f"typescript-{generation}"
    wanted = "\n".join([NODE, *packages])
    stamp = home / "packages"
    if not stamp.exists() or stamp.read_text() != wanted:
        npm = ["npm", "install", "--prefix", str(home), "--no-save", "--no-package-lock"]
        run.installed([*npm, "--no-audit", "--no-fund", "--silent", NODE, *packages], home)
        stamp.write_text(wanted)
    node = str(home / "node_modules" / ".bin" / "node")
    return [node, str(PEERS / f"mcp_typescript_{generation}.mjs"), str(home)]


def typescript_new():
    packages = ["@modelcontextprotocol/server@2.4.0", "@modelcontextprotocol/node@2.1.2"]
    return typescript("new", packages), True


def typescript_old():
    return typescript("old", ["@modelcontextprotocol/sdk@1.32.2"]), False


SERVERS = {
    "fastmcp": {"title": "FastMCP 4.1.2 (Python)", "install": fastmcp},
    "typescript-new": {"title": "TypeScript SDK 2.4.0", "install": typescript_new},
    "typescript-old": {"title": "TypeScript SDK 1.32.2", "install": typescript_old},
}


def installed(with_peers):
    """Installs the other servers; returns what the bench must know of them, and why some are left out."""
    servers, left_out = [], {}
    for name, server in SERVERS.items():
        if not with_peers:
            left_out[name] = "not asked for"
            continue
        try:
            run.say(f"installing {server['title']}")
            command, newer_era = server["install"]()
        except run.Unavailable as error:
            run.say(f"{name} is left out: {error}")
            left_out[name] = str(error)
            continue
        servers.append(
            {
                "name": name,
                "stdio": [*command, "stdio"],
                "http": [*command, "http", "{port}"],
                "newer_era": newer_era,
            }
        )
    return servers, left_out


def measured(program, servers):
    """Runs the bench, one that was built before where there is one; returns its figures."""
    run.OUTPUT.mkdir(parents=True, exist_ok=True)
    listed = run.OUTPUT / "transports-servers.json"
    listed.write_text(json.dumps(servers, indent=2) + "\n")
    command = [str(pathlib.Path(program).resolve())]
    if not program:
        run.say("building the bench of transports")
        command = ["cargo", "bench", "--workspace", "--bench", "transports"]
        subprocess.run([*command, "--no-run"], cwd=run.ROOT, check=True, timeout=BUILD_SECONDS)
        command.append("--")
    run.say("measuring transports")
    subprocess.run(
        [*command, str(listed)], cwd=run.ROOT, check=True, timeout=MEASURE_SECONDS, stdout=sys.stderr
    )
    return json.loads((run.OUTPUT / "transports.json").read_text())


def main():
    parser = argparse.ArgumentParser(description="Measures our server beside others.")
    parser.add_argument("--bench", help="the bench, already built", default="")
    parser.add_argument("--without-peers", action="store_true", help="measure our server alone")
    given = parser.parse_args()
    servers, left_out = installed(not given.without_peers)
    loads = {"before": run.load()}
    figures = measured(given.bench, servers)
    part = {
        "date": run.now(),
        # A bench that was built before may be of any commit.
        "commit": "" if given.bench else run.version(["git", "rev-parse", "--short", "HEAD"]),
        "load": {**loads, "after": run.load()},
        "titles": {name: server["title"] for name, server in SERVERS.items()},
        "left_out": left_out,
        **figures,
    }
    run.TRANSPORTS.write_text(json.dumps(part, indent=2, ensure_ascii=False) + "\n")
    whole = run.OUTPUT / "report.json"
    if whole.exists():
        report = {**json.loads(whole.read_text()), "transports": part}
        whole.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    run.say(f"wrote {run.TRANSPORTS}" + (f" and {whole}" if whole.exists() else ""))


if __name__ == "__main__":
    main()
