#!/usr/bin/env python3
"""Measures what the sandbox of plugins costs, beside the bare engine, and puts it into `target/bench/report.json`.

    bench/plugins.py [--bench PROGRAM] [--only NAME]

Plugins in Python and JavaScript are built by `tests/polyglot/build.sh`, with the toolchains from PyPI and npm; where that
is not possible they are left out, and the report says why. Takes about three minutes once everything is built.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

# Beside this file nothing is written.
sys.dont_write_bytecode = True
import run  # noqa: E402

KIT = run.ROOT / "target" / "polyglot"

# How long building the kit, and the bench, may take.
BUILD_SECONDS = 3600
# How long all figures may take.
MEASURE_SECONDS = 900


def kit():
    """Builds the plugins in other languages; returns why there are none, or nothing."""
    try:
        done = subprocess.run(
            [str(run.ROOT / "tests" / "polyglot" / "build.sh")],
            cwd=run.ROOT,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"`tests/polyglot/build.sh` took more than {BUILD_SECONDS} s"
    if done.returncode == 0:
        return None
    last = " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
    return f"`tests/polyglot/build.sh` failed: {last[:300]}"


def measure(program, only, left_out):
    """Runs the bench, one that was built before where there is one; returns its figures."""
    environment = dict(os.environ)
    environment.pop("CAELUM_POLYGLOT", None)
    if not left_out:
        environment["CAELUM_POLYGLOT"] = str(KIT)
    command = [str(pathlib.Path(program).resolve())]
    if not program:
        run.say("building the bench of plugins")
        command = ["cargo", "bench", "--workspace", "--bench", "plugins"]
        subprocess.run([*command, "--no-run"], cwd=run.ROOT, check=True, timeout=BUILD_SECONDS)
        command += ["--", *([only] if only else [])]
    elif only:
        command.append(only)
    run.say("measuring plugins")
    subprocess.run(
        command,
        cwd=run.ROOT,
        check=True,
        timeout=MEASURE_SECONDS,
        env=environment,
        stdout=sys.stderr,
    )
    return json.loads((run.OUTPUT / "plugins.json").read_text())


def main():
    parser = argparse.ArgumentParser(description="Measures the sandbox of plugins.")
    parser.add_argument("--bench", help="the bench, already built", default="")
    parser.add_argument("--only", help="a part of figures' names", default="")
    given = parser.parse_args()
    left_out = kit()
    if left_out:
        run.say(f"other languages than Rust are left out: {left_out}")
    loads = {"before": run.load()}
    figures = measure(given.bench, given.only, left_out)
    part = {
        "date": run.now(),
        # A bench that was built before may be of any commit.
        "commit": "" if given.bench else run.version(["git", "rev-parse", "--short", "HEAD"]),
        "load": {**loads, "after": run.load()},
        "left_out": left_out,
        "figures": figures,
    }
    run.SANDBOX.write_text(json.dumps(part, indent=2, ensure_ascii=False) + "\n")
    whole = run.OUTPUT / "report.json"
    if whole.exists():
        report = {**json.loads(whole.read_text()), "plugins": part}
        whole.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    run.say(f"wrote {run.SANDBOX}" + (f" and {whole}" if whole.exists() else ""))


if __name__ == "__main__":
    main()
