"""What every peer is asked, and how it is timed. A peer says how to begin, run, open and restart; this module asks.

A peer is run as `python PEER.py DIRECTORY GROUP` and prints one JSON object per figure: its name, its value, and a note
where one is due. Each group has a process and a directory of its own, so that what one leaves behind disturbs no other.
"""

import asyncio
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

SHAPES = json.loads((pathlib.Path(__file__).parent.parent / "figures.json").read_text())

# Steps that have ended, and the moments at which steps began, in this process.
done = 0
begun = []


async def work(kind):
    """Does what a step does: nothing, wait for a second, or run a program."""
    global done
    begun.append(time.perf_counter())
    if kind == "second":
        await asyncio.sleep(1)
    elif kind == "program":
        program = await asyncio.create_subprocess_exec("true")
        if await program.wait() != 0:
            raise RuntimeError("`true` failed")
    done += 1


def figure(name, value, note=""):
    """Prints one figure."""
    print(json.dumps({"name": name, "value": value, "note": note}), flush=True)


def free_port():
    """Returns a port of the loopback interface that nobody has."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def rss_mb(pid):
    """Returns the resident memory of a process, in MB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has no resident memory")


class Server:
    """A server in a process of its own, with its output in a file."""

    def __init__(self, command, directory, environment=None):
        self.command = command
        self.log = pathlib.Path(directory) / "server.log"
        self.environment = {**os.environ, **(environment or {})}
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment
            )

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def answers(self, question, seconds):
        """Asks until the server answers; raises what it said last when it does not in time."""
        end = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                tail = self.log.read_text(errors="replace").strip().splitlines()[-3:]
                raise RuntimeError(f"the server ended with {self.process.returncode}: {tail}")
            try:
                return await question()
            except Exception:
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(0.02)


def percentile(times, rank):
    times = sorted(times)
    return times[min(len(times) * rank // 100, len(times) - 1)]


async def timed(running):
    began = time.perf_counter()
    await running
    return (time.perf_counter() - began) * 1000


async def crowd(running, seconds):
    """Runs all of these at once, for so long at most; returns steps per second and a note."""
    before = done
    began = time.perf_counter()
    tasks = [asyncio.ensure_future(one) for one in running]
    ended, left = await asyncio.wait(tasks, timeout=seconds)
    took = time.perf_counter() - began
    rate = (done - before) / took
    for task in left:
        task.cancel()
    for task in ended:
        # An execution that failed is no figure.
        task.result()
    note = f"{len(left)} of {len(tasks)} had not ended after {seconds} s" if left else ""
    if done == before:
        raise RuntimeError(f"no step ended within {seconds} s")
    return rate, note


async def row_group(peer):
    steps = SHAPES["light_steps"]
    figure("light_40_ms", await timed(peer.run("row", steps, "nothing")))
    steps = SHAPES["long_steps"]
    took = await timed(peer.run("row", steps, "second"))
    figure("long_10_overhead_ms", took - 1000 * steps)
    whole, dispatch = [], []
    for _ in range(SHAPES["single_executions"]):
        begun.clear()
        began = time.perf_counter()
        await peer.run("row", 1, "nothing")
        whole.append((time.perf_counter() - began) * 1000)
        dispatch.append((begun[0] - began) * 1000)
    for rank in (50, 99):
        figure(f"single_p{rank}_ms", percentile(whole, rank))
        figure(f"dispatch_p{rank}_ms", percentile(dispatch, rank))
    steps = SHAPES["peer_row_steps"]
    begun.clear()
    figure("step_ms", await timed(peer.run("row", steps, "nothing")) / steps)
    paces = [(after - before) * 1000 for before, after in zip(begun, begun[1:])]
    figure("step_p50_ms", percentile(paces, 50))
    figure("step_p99_ms", percentile(paces, 99))
    steps = SHAPES["crowd_steps"]
    rate, note = await crowd([peer.run("row", steps, "nothing")], SHAPES["crowd_seconds_max"])
    figure("steps_per_s_1", rate, note)
    steps = SHAPES["parallel_steps"]
    figure("parallel_400_ms", await timed(peer.run("side_by_side", steps, "nothing")))


async def programs_group(peer):
    steps = SHAPES["light_steps"]
    figure("light_40_command_ms", await timed(peer.run("row", steps, "program")))
    steps = SHAPES["parallel_steps"]
    figure("parallel_400_command_ms", await timed(peer.run("side_by_side", steps, "program")))
    running = [peer.run("row", SHAPES["crowd_steps"], "program") for _ in range(100)]
    figure("command_steps_per_s_100", *await crowd(running, SHAPES["crowd_seconds_max"]))


async def crowd_group(peer, executions):
    running = [peer.run("row", SHAPES["crowd_steps"], "nothing") for _ in range(executions)]
    rate, note = await crowd(running, SHAPES["crowd_seconds_max"])
    figure(f"steps_per_s_{executions}", rate, note)


async def wide_group(peer):
    count, targets = SHAPES["wide_executions"], SHAPES["wide_targets"]
    running = [peer.run("side_by_side", targets, "nothing") for _ in range(count)]
    figure("wide_per_s", *await crowd(running, SHAPES["wide_seconds_max"]))


async def open_group(peer):
    """Opens executions that wait for somebody until there are enough or the time is over."""
    count, seconds = SHAPES["open_executions"], SHAPES["open_seconds_max"]
    began = time.perf_counter()
    numbers = iter(range(count))
    opened = 0

    async def caller():
        nonlocal opened
        for _ in numbers:
            if time.perf_counter() - began > seconds:
                return
            await peer.open()
            opened += 1

    await asyncio.gather(*(caller() for _ in range(32)))
    took = time.perf_counter() - began
    note = "" if opened == count else f"with {opened} open after {seconds} s"
    figure("open_per_s", opened / took, note)
    figure("open_rss_mb", peer.rss_mb(), note)
    if peer.embedded:
        # Its library is part of this process: the next one goes on from here.
        print(json.dumps({"open": opened}), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    began = time.perf_counter()
    await peer.restart()
    await peer.run("row", 1, "nothing")
    figure("recovery_ms", (time.perf_counter() - began) * 1000, note)


async def asked(make, directory, group):
    """Asks for one group, then ends this process at once: what still runs is of no interest any more."""
    try:
        await answered(make, directory, group)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:400]}), flush=True)
    os._exit(0)


async def answered(make, directory, group):
    peer = make(directory)
    began = time.perf_counter()
    await peer.begin()
    await peer.run("row", 1, "nothing")
    if group == "recover":
        figure("recovery_ms", (time.perf_counter() - began) * 1000)
    elif group == "row":
        await row_group(peer)
    elif group == "programs":
        await programs_group(peer)
    elif group == "wide":
        await wide_group(peer)
    elif group == "open":
        await open_group(peer)
    elif group.startswith("crowd-"):
        await crowd_group(peer, int(group.removeprefix("crowd-")))
    else:
        raise SystemExit(f"there is no group `{group}`")


def main(make):
    """Asks one peer for one group of figures; whoever runs this ends the servers that it started."""
    if len(sys.argv) != 3:
        raise SystemExit(f"usage: {sys.argv[0]} DIRECTORY GROUP")
    directory, group = sys.argv[1:]
    asyncio.run(asked(make, directory, group))
