"""Temporal's dev server with a SQLite file, and a worker and client of its Python SDK in this process."""

import asyncio
import itertools
import pathlib
import sys
from datetime import timedelta

import harness
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "bench"
A_DAY = timedelta(days=1)


@activity.defn
async def step(kind: str) -> None:
    await harness.work(kind)


def stepped(kind):
    return workflow.execute_activity(step, kind, start_to_close_timeout=timedelta(minutes=5))


@workflow.defn
class Row:
    @workflow.run
    async def run(self, steps: int, kind: str) -> None:
        for _ in range(steps):
            await stepped(kind)


@workflow.defn
class SideBySide:
    @workflow.run
    async def run(self, steps: int, kind: str) -> None:
        await asyncio.gather(*(stepped(kind) for _ in range(steps)))


@workflow.defn
class Waits:
    def __init__(self):
        self.told = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.told)

    @workflow.signal
    def go(self) -> None:
        self.told = True


class Temporal:
    embedded = False

    def __init__(self, directory):
        self.port = harness.free_port()
        program = pathlib.Path(sys.executable).parent / "temporal"
        command = [program, "server", "start-dev", "--ip", "127.0.0.1", "--port", self.port]
        command += ["--http-port", harness.free_port(), "--metrics-port", harness.free_port()]
        command += ["--headless", "--log-level", "error"]
        command += ["--db-filename", pathlib.Path(directory) / "temporal.db"]
        self.server = harness.Server([str(part) for part in command], directory)
        self.numbers = itertools.count()

    async def begin(self):
        self.server.start()
        await self.server.answers(self.connect, 60)
        self.worker = Worker(
            self.client,
            task_queue=QUEUE,
            workflows=[Row, SideBySide, Waits],
            activities=[step],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        self.working = asyncio.ensure_future(self.worker.run())

    async def connect(self):
        self.client = await Client.connect(f"127.0.0.1:{self.port}")

    async def restart(self):
        self.server.kill()
        self.server.start()
        await self.server.answers(self.client.service_client.check_health, 60)

    async def run(self, kind, steps, work):
        shape = {"row": Row, "side_by_side": SideBySide}[kind]
        await self.client.execute_workflow(
            shape.run, args=[steps, work], id=f"run-{next(self.numbers)}", task_queue=QUEUE
        )

    async def open(self):
        name = f"open-{next(self.numbers)}"
        await self.client.start_workflow(Waits.run, id=name, task_queue=QUEUE)

    def rss_mb(self):
        return harness.rss_mb(self.server.process.pid)


if __name__ == "__main__":
    harness.main(Temporal)
