"""DBOS in this process, its state in a SQLite file, as its own quick start sets it up."""

import asyncio
import os
import pathlib

import harness
from dbos import DBOS


@DBOS.step()
async def step(kind):
    await harness.work(kind)


@DBOS.workflow()
async def row(steps, kind):
    for _ in range(steps):
        await step(kind)


@DBOS.workflow()
async def side_by_side(steps, kind):
    await asyncio.gather(*(step(kind) for _ in range(steps)))


@DBOS.workflow()
async def waits():
    await DBOS.recv_async("go", timeout_seconds=24 * 3600)


class Dbos:
    embedded = True

    def __init__(self, directory):
        self.file = pathlib.Path(directory) / "dbos.sqlite"

    async def begin(self):
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"sqlite:///{self.file}",
                "log_level": "ERROR",
                "run_admin_server": False,
                "application_version": "1",
            }
        )
        DBOS.launch()

    async def run(self, kind, steps, work):
        workflow = {"row": row, "side_by_side": side_by_side}[kind]
        handle = await DBOS.start_workflow_async(workflow, steps, work)
        await handle.get_result()

    async def open(self):
        await DBOS.start_workflow_async(waits)

    def rss_mb(self):
        return harness.rss_mb(os.getpid())


if __name__ == "__main__":
    harness.main(Dbos)
