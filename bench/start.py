#!/usr/bin/env python3
"""Measures how fast the server greets and how little it needs, and adds both to `target/bench/report.json`.

    bench/start.py [--server PROGRAM] [--runs N]

From starting the program to its first answers over standard input and output: `initialize`, `tools/list`, and
`list_patterns`, which waits until every bundled plugin serves. Cold means an empty plugin cache, in which all of them are
compiled; warm means the cache of a run before. Then the resident memory after five quiet seconds, with every plugin
loaded, of a server on standard input and output and of one on a port; and the processor time those seconds took.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import run

REPORT = run.OUTPUT / "report.json"

# How long one answer may take: compiling every bundled plugin on a busy machine is the longest.
ANSWER_SECONDS = 300
# How long a server rests before its memory is read.
QUIET_SECONDS = 5

# The figures in their order: name, title, unit, and what is asked for at most where something is.
FIGURES = [
    ("start_warm_ms", "start to the first answer", "ms", 300),
    ("start_warm_worst_ms", "the slowest of those starts", "ms", None),
    ("start_cold_ms", "start to the first answer, nothing compiled yet", "ms", 300),
    ("tools_warm_ms", "start to the list of tools", "ms", None),
    ("plugins_warm_ms", "start until every bundled plugin serves", "ms", 300),
    ("plugins_cold_ms", "the same, nothing compiled yet", "ms", None),
    ("idle_stdio_mib", "resident memory, idle, on standard input and output", "MiB", 60),
    ("idle_stdio_anonymous_mib", "of it not backed by a file", "MiB", None),
    ("idle_stdio_cpu_ms", "processor time in five idle seconds", "ms", None),
    ("idle_port_mib", "resident memory, idle, on a port", "MiB", 60),
    ("idle_port_anonymous_mib", "of it not backed by a file", "MiB", None),
    ("idle_port_cpu_ms", "processor time in five idle seconds", "ms", None),
    ("binary_mib", "size of the program", "MiB", None),
    ("plugins", "bundled plugins", "count", None),
]


class Server:
    """A server on standard input and output, with the messages it answers."""

    def __init__(self, program, directory, cache):
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": directory,
            "CAELUM_WORKFLOW_DATA_DIR": os.path.join(directory, "data"),
            "CAELUM_WORKFLOW_CACHE_DIR": cache,
        }
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [program, "serve", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        self.last = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def elapsed_ms(self):
        return (time.perf_counter() - self.began) * 1000

    def tell(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        """Returns the answer to one request; a server that does not answer in time is killed."""
        self.last += 1
        self.tell({"id": self.last, "method": method, "params": params})
        signal.alarm(ANSWER_SECONDS)
        try:
            for line in self.process.stdout:
                message = json.loads(line)
                if message.get("id") == self.last:
                    if "result" not in message:
                        raise SystemExit(f"bench: {method}: {message}")
                    return message["result"]
        finally:
            signal.alarm(0)
        raise SystemExit(f"bench: the server ended without an answer to {method}")

    def greet(self):
        """Agrees on a protocol; returns how long after the start the answer came."""
        who = {"name": "bench", "version": "1"}
        self.ask(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": who},
        )
        answered = self.elapsed_ms()
        self.tell({"method": "notifications/initialized"})
        return answered

    def patterns(self):
        result = self.ask("tools/call", {"name": "list_patterns", "arguments": {"kind": "all"}})
        listed = result["structuredContent"]
        return len(listed.get("patterns") or []) + len(listed.get("validators") or [])


def memory_mib(pid):
    """Returns the resident memory, and that of it which no file is behind, in MiB."""
    figures = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        figures[name] = int(value.split()[0]) / 1024
    return {"rss": round(figures["Rss"], 1), "anonymous": round(figures["Anonymous"], 1)}


def processor_ms(pid):
    """Returns the processor time that a process has taken so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def quiet(pid):
    """Leaves a server alone for a while; returns its memory and the processor time it took meanwhile."""
    before = processor_ms(pid)
    time.sleep(QUIET_SECONDS)
    return memory_mib(pid), round(processor_ms(pid) - before, 1)


def started(program, directory, cache):
    """Starts once; returns when it greeted, listed its tools and had all its plugins, and how many those are."""
    with Server(program, directory, cache) as server:
        greeted = server.greet()
        server.ask("tools/list", {})
        listed = server.elapsed_ms()
        plugins = server.patterns()
        return {
            "greeted_ms": greeted,
            "listed_ms": listed,
            "plugins_ms": server.elapsed_ms(),
            "plugins": plugins,
        }


def on_a_port(program, directory, cache):
    """Starts a server on any free port; returns its memory and processor time once it has been quiet."""
    log = open(os.path.join(directory, "port.log"), "w+b")
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": directory,
        "CAELUM_WORKFLOW_DATA_DIR": os.path.join(directory, "port-data"),
        "CAELUM_WORKFLOW_CACHE_DIR": cache,
    }
    process = subprocess.Popen(
        [program, "serve", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        cwd=directory,
        env=environment,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + ANSWER_SECONDS
        while b"listening" not in pathlib.Path(log.name).read_bytes():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("bench: the server does not listen; its log is above")
            time.sleep(0.01)
        return quiet(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def measured(program, runs):
    with tempfile.TemporaryDirectory(prefix="bench-start-") as directory:
        cold = []
        for turn in range(min(runs, 3)):
            run.say(f"cold start {turn + 1}")
            home = os.path.join(directory, f"cold-{turn}")
            os.mkdir(home)
            cold.append(started(program, home, os.path.join(home, "cache")))
        cache = os.path.join(directory, "cold-0", "cache")
        warm = []
        for turn in range(runs):
            run.say(f"warm start {turn + 1}")
            home = os.path.join(directory, f"warm-{turn}")
            os.mkdir(home)
            warm.append(started(program, home, cache))
        run.say("idle")
        home = os.path.join(directory, "idle")
        os.mkdir(home)
        with Server(program, home, cache) as server:
            server.greet()
            server.patterns()
            stdio, stdio_cpu = quiet(server.process.pid)
        port, port_cpu = on_a_port(program, home, cache)

    def median(rows, key):
        return round(statistics.median(row[key] for row in rows), 1)

    return {
        "plugins": warm[0]["plugins"],
        "start_cold_ms": median(cold, "greeted_ms"),
        "plugins_cold_ms": median(cold, "plugins_ms"),
        "start_warm_ms": median(warm, "greeted_ms"),
        "start_warm_worst_ms": round(max(row["greeted_ms"] for row in warm), 1),
        "tools_warm_ms": median(warm, "listed_ms"),
        "plugins_warm_ms": median(warm, "plugins_ms"),
        "idle_stdio_mib": stdio["rss"],
        "idle_stdio_anonymous_mib": stdio["anonymous"],
        "idle_stdio_cpu_ms": stdio_cpu,
        "idle_port_mib": port["rss"],
        "idle_port_anonymous_mib": port["anonymous"],
        "idle_port_cpu_ms": port_cpu,
        "binary_mib": round(os.path.getsize(program) / 1048576, 1),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--server", default=str(run.ROOT / "target" / "release" / "caelum-workflow"))
    arguments.add_argument("--runs", type=int, default=10, help="warm starts")
    given = arguments.parse_args()
    program = os.path.abspath(given.server)
    if not os.access(program, os.X_OK):
        raise SystemExit(
            f"bench: `{program}` is no program; "
            "hint: cargo build --release --package caelum-workflow"
        )
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("bench: the server does not answer"))
    loads = {"before": run.load()}
    figures = measured(program, max(given.runs, 1))
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    report["start"] = {
        "date": run.now(),
        "load": {**loads, "after": run.load()},
        "figures": [
            {"name": name, "title": title, "unit": unit, "value": figures[name], "asked": asked}
            for name, title, unit, asked in FIGURES
        ],
    }
    run.OUTPUT.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    for row in report["start"]["figures"]:
        missed = row["asked"] is not None and row["value"] > row["asked"]
        asked = "" if row["asked"] is None else f" (asked: {row['asked']}{', MISSED' if missed else ''})"
        print(f"{row['value']:>10} {row['unit']:5} {row['title']}{asked}")


if __name__ == "__main__":
    main()
