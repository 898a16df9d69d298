"""Restate's server, and a service of its Python SDK in this process."""

import asyncio
import os
import pathlib
from datetime import timedelta

import aiohttp
import harness
import hypercorn.asyncio
import hypercorn.config
import restate

service = restate.Service("bench")


@service.handler()
async def row(ctx: restate.Context, request: dict) -> None:
    for index in range(request["steps"]):
        await ctx.run_typed(f"s{index}", harness.work, kind=request["work"])


@service.handler()
async def side_by_side(ctx: restate.Context, request: dict) -> None:
    steps = [
        ctx.run_typed(f"s{index}", harness.work, kind=request["work"])
        for index in range(request["steps"])
    ]
    await restate.gather(*steps)


@service.handler()
async def waits(ctx: restate.Context) -> None:
    _, told = ctx.awakeable()
    await told


class Restate:
    embedded = False

    def __init__(self, directory):
        ports = {name: harness.free_port() for name in ("ingress", "admin", "node", "service")}
        self.ingress = f"http://127.0.0.1:{ports['ingress']}/bench"
        self.admin = f"http://127.0.0.1:{ports['admin']}"
        self.port = ports["service"]
        environment = {
            "RESTATE_BASE_DIR": str(pathlib.Path(directory) / "restate"),
            "RESTATE_NODE_NAME": "bench",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports['node']}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{ports['node']}/",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports['ingress']}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports['admin']}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LOG_FILTER": "error",
            "DO_NOT_TRACK": "1",
        }
        self.server = harness.Server([os.environ["RESTATE_SERVER"]], directory, environment)

    async def begin(self):
        config = hypercorn.config.Config()
        config.bind = [f"127.0.0.1:{self.port}"]
        config.h2_max_concurrent_streams = 20_000
        config.keep_alive_max_requests = 10**9
        application = restate.app([service])
        self.serving = asyncio.ensure_future(hypercorn.asyncio.serve(application, config))
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        self.server.start()
        await self.server.answers(self.register, 60)

    async def register(self):
        uri = {"uri": f"http://127.0.0.1:{self.port}"}
        async with self.session.post(f"{self.admin}/deployments", json=uri) as answer:
            if answer.status >= 300:
                raise RuntimeError(await answer.text())

    async def healthy(self):
        async with self.session.get(f"{self.admin}/health") as answer:
            answer.raise_for_status()

    async def restart(self):
        self.server.kill()
        self.server.start()
        await self.server.answers(self.healthy, 60)
        await self.server.answers(lambda: self.run("row", 1, "nothing"), 60)

    async def run(self, kind, steps, work):
        request = {"steps": steps, "work": work}
        async with self.session.post(f"{self.ingress}/{kind}", json=request) as answer:
            if answer.status >= 300:
                raise RuntimeError(await answer.text())

    async def open(self):
        # It takes no body, and so no type of one either.
        plain = {"skip_auto_headers": ["Content-Type"]}
        async with self.session.post(f"{self.ingress}/waits/send", **plain) as answer:
            if answer.status >= 300:
                raise RuntimeError(await answer.text())

    def rss_mb(self):
        return harness.rss_mb(self.server.process.pid)


if __name__ == "__main__":
    harness.main(Restate)
