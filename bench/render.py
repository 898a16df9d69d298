#!/usr/bin/env python3
"""Renders `target/bench/report.json` as `docs/benchmarks.md`. Everything that changes from run to run comes from the
report; what stands here is what the figures mean.
"""

import json
import pathlib
import sys

# Beside this file nothing is written.
sys.dont_write_bytecode = True
from transports_page import transports  # noqa: E402

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent

HEAD = """# Benchmarks

Caelum's engine beside other engines that need no cluster, and its server beside others that speak MCP, measured one
after the other in the same run on the same machine. This page is written by `make bench` from
`target/bench/report.json`; do not edit it by hand.
"""

MEANING = """## What the rows mean

- A *step* does nothing, inside the process that performs steps, so that what is left is the engine: deciding, making
  durable, handing out, taking the report. In rows that say so it starts the program `true` or waits for one second.
- *40 light steps*, *10 long steps* and *400 parallel steps* are the shapes that published comparisons of workflow
  engines use.
- *Steps per second* counts steps that ended, from starting all executions at once until all have ended, or for 20
  seconds, whichever comes first; a note says when it was the time.
- *Step-targets* are one step on many machines. Peers have no such thing; in *10 executions with 400 pieces of work side
  by side* ours is one step on 400 machines and theirs are 400 activities.
- *Open executions* wait for somebody. The resident memory is that of the engine's process: for Restate and Temporal
  that is their server alone, for the libraries it is the process that they are part of.
- *After kill -9* is the time from starting the engine anew over what was left to the end of a new execution of one
  step. Where a peer could not open 10,000 executions in 30 s, the note says how many it had to recover.
- Ours is at SQLite's `synchronous=FULL`: when a step counts as done, it is on the disk.
- A ratio above 1 means that Caelum is ahead by that factor.
"""

CAVEATS = """## What to keep in mind

- The peers are measured through their Python SDKs, except duroxide, which is a Rust library like ours. A Python worker
  has its share in what a step costs; the servers of Restate and Temporal do more work behind the network than a library
  does, and can be scaled out, which a single node cannot show. Client, worker and server share the cores.
- Settings are the ones that come with each peer, except: Temporal's workflows run unsandboxed; Restate's service may
  hold 20,000 streams; duroxide looks for work every millisecond instead of every 100 ms and has ten workers instead of
  two (it is faster so).
- Durability differs. duroxide sets `PRAGMA synchronous = WAL`, which SQLite does not know and takes as NORMAL: the loss
  of power may take its last commits, and it pays for no flush per commit. The others make each step durable as they
  promise by default.
- duroxide only queues what is started, and holds nothing of it in memory: its memory with open executions is small, and
  its recovery first takes up the whole queue. Ours, and the other peers, have begun every execution.
- Programs of the peers are started by Python's `asyncio` (by tokio in duroxide), without capturing output, deadlines or
  process groups, all of which ours has.
- Times are wall-clock times on a machine that may have had other work: the load before and after stands above, and
  the first row says what the disk could do just before each engine was measured. Compare figures of one run with each
  other, not with figures of other runs.
- Each figure of a peer is measured once per run, in a fresh process and directory, after one execution to warm up.
"""

SANDBOX = """What these rows mean:

- *bare* is wasmtime without us: the same component, joined with its host once, a fresh instance for each call that is
  dropped with it, memory from the same kind of allocator, on the caller's own thread, with arguments that lie ready and
  no limit of any kind. Ours checks the parameters, brings the evidence into its form, waits for the call's place, runs
  the guest with every limit on, checks the answer and reports. The two take turns in one process.
- A plugin that has proved quick is called inline, on the thread of its caller, as the bare engine calls it; the bundled
  validators that only weigh evidence are. All others are called *on a thread of their own*; the bare engine is then
  called by tokio's `spawn_blocking`, which wakes another thread, too. On a virtual machine with idle processors waking
  is most of such a call; on a busy one it costs almost nothing.
- The ratio is the price: above 1, ours takes that many times what the bare engine takes. The design allows 1.5 for a
  gate check at the median.
- Instances come from a pool that keeps what a guest has touched, here and in the bare engine. *Memory from the system for
  each* is what both do where the address space allows no pool: then two processors hinder each other, because each call
  changes the address space of the process that they share.
- *From a new file to the first answer* is the whole of a host that starts over a folder with one new file: its engine,
  every stage of loading, a compiler process, the cache, and one call. The bare engine compiles in its own process,
  checks nothing and keeps nothing. *Code in the cache* is the same start again; the bare engine maps the file that it
  has compiled, and ours also reads the plugin and proves by its SHA-256 that the code is what the compiler made.
- *While the plugin is replaced*: two callers ask without a pause, and a file with other content takes the place of the
  last one as soon as that one serves. Each is compiled anew, on the same cores. A call that fails ends the bench.
"""

REPRODUCE = """## How to reproduce

```console
$ make bench                       # everything: about twenty-five minutes after the first build
$ bench/plugins.py                 # the sandbox of plugins alone: about three minutes
$ bench/transports.py              # MCP over every transport alone: about three minutes
$ bench/start.py                   # starts and idle memory alone: about a minute, after a release build
$ bench/run.py --without-peers     # ours alone: about two minutes
$ bench/run.py --only restate      # ours and one peer
$ bench/run.py --only dbos --merge # anew ours and one peer, the others as the last report has them
$ bench/render.py                  # this page, from target/bench/report.json
```

It needs Python 3.10 or newer with `venv`, npm for Restate and the TypeScript SDKs, and the Rust toolchain. Peers are
installed from PyPI, npm and crates.io into `target/bench/peers`; one that cannot be installed is left out, and this page
says why. Everything listens on the loopback interface, on ports that were free. The shapes stand in
`bench/figures.json`, our side in `host/engine/benches/throughput/`, theirs in `bench/peers/`. The sandbox is measured by
`host/plugins/benches/plugins/`, the transports by `host/server/benches/transports/`.
"""


def number(value):
    """Writes a number with three digits that matter."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def sandbox(part):
    """Renders what was measured of plugins."""
    built = f"commit `{part['commit']}`" if part["commit"] else "a bench that was built before"
    loads = part["load"]
    lines = ["", "## The sandbox of plugins", ""]
    lines.append(
        f"{part['date']}, {built}; load of the machine before {loads['before']}, after {loads['after']}."
    )
    if part["left_out"]:
        lines.append(f"Other languages than Rust are left out: {part['left_out']}.")
    lines += ["", "| | unit | Caelum | bare | ratio |", "|---|---|--:|--:|--:|"]
    for row in part["figures"]:
        bare = row["bare"] or {"value": None, "ratio": None}
        ratio = f"×{number(bare['ratio'])}" if bare["ratio"] is not None else "–"
        ours = f"**{number(row['ours'])}**" + (f" ({row['note']})" if row["note"] else "")
        lines.append(
            f"| {row['title']} | {row['unit']} | {ours} | {number(bare['value'])} | {ratio} |"
        )
    return [*lines, "", SANDBOX.rstrip()]


def start(part):
    """Renders what was measured of starts and of idle servers."""
    loads = part["load"]
    lines = ["", "## Start and memory", ""]
    lines.append(
        f"{part['date']}; load of the machine before {loads['before']}, after {loads['after']}. The release build, with "
        "every bundled plugin; medians of several starts."
    )
    lines += ["", "| | unit | Caelum | asked at most |", "|---|---|--:|--:|"]
    for row in part["figures"]:
        value = f"**{number(row['value'])}**"
        lines.append(f"| {row['title']} | {row['unit']} | {value} | {number(row['asked'])} |")
    return lines


def main():
    report = json.loads((ROOT / "target" / "bench" / "report.json").read_text())
    peers = [name for name, peer in report["peers"].items() if not peer["left_out"]]
    notes = []

    def noted(text):
        if not text:
            return ""
        if text not in notes:
            notes.append(text)
        return f" [{notes.index(text) + 1}]"

    machine = report["machine"]
    built = f"commit `{report['commit']}`" if report["commit"] else "a bench that was built before"
    lines = [HEAD, "## The run", ""]
    lines += [
        f"- {report['date']}, {built}, {report['rustc']}, Python {report['python']}",
        f"- {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, {machine['filesystem']}",
        f"- load of the machine before {report['load']['before']}, after {report['load']['after']}",
    ]
    for peer in report["peers"].values():
        about = f"left out, {peer['left_out']}" if peer["left_out"] else peer.get("measured_at")
        lines.append(f"- {peer['title']}: {about}")
    titles = [report["peers"][name]["title"].split(",")[0].split("(")[0].strip() for name in peers]
    lines += ["", "## Beside the peers", ""]
    lines.append("| | unit | Caelum | " + " | ".join(titles) + " |")
    lines.append("|---|---|--:|" + "--:|" * len(peers))
    alone, behind = [], []
    for row in report["figures"]:
        if row["ours"] is None:
            continue
        theirs = [row.get(name) for name in peers]
        if not any(theirs):
            alone.append(row)
            continue
        cells = []
        for name, title, value in zip(peers, titles, theirs):
            if not value:
                cells.append("–")
                continue
            ratio = value["ratio"]
            cell = number(value["value"])
            if ratio is not None:
                cell += f" (×{number(ratio)})"
                if ratio < 1:
                    behind.append(f"- {row['title']}: {title} (×{number(ratio)})")
            cells.append(cell + noted(value["note"]))
        ours = f"**{number(row['ours'])}**{noted(row['note'])}"
        lines.append(f"| {row['title']} | {row['unit']} | {ours} | " + " | ".join(cells) + " |")
    lines += ["", *(f"[{at}] {note}  " for at, note in enumerate(notes, 1)), ""]
    if behind:
        lines += ["Rows in which a peer is ahead:", "", *behind, ""]
    problems = [
        f"- {report['peers'][name]['title']}: {problem}"
        for name in peers
        for problem in report["peers"][name]["problems"]
    ]
    if problems:
        lines += ["What a peer could not do:", "", *problems, ""]
    lines += ["## Ours alone", "", "| | unit | Caelum |", "|---|---|--:|"]
    for row in alone:
        note = f" ({row['note']})" if row["note"] else ""
        lines.append(f"| {row['title']} | {row['unit']} | {number(row['ours'])}{note} |")
    lines += ["", MEANING.rstrip()]
    if report.get("plugins"):
        lines += sandbox(report["plugins"])
    if report.get("transports"):
        lines += transports(report["transports"], number)
    if report.get("start"):
        lines += start(report["start"])
    lines += ["", CAVEATS, REPRODUCE]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
