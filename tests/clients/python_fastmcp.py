"""The client of FastMCP, in both eras, over standard input and streamable HTTP."""

import contextlib
import sys

import adapter
import anyio
import scenarios
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from serving import data_directory, serving, settings

NAME = "FastMCP 4.1.2"


class Adapter(adapter.Adapter):
    """Does what the scenarios ask with a `Client` of FastMCP, which gives most answers without their envelope."""

    def __init__(self, transport, era):
        super().__init__(era)
        self._transport = transport

    @contextlib.asynccontextmanager
    async def connected(self):
        async def asked(message, _type, params, _context):
            return self.person(message, params.requested_schema)

        async with Client(
            self._transport, mode=self.mode, message_handler=self.heard, elicitation_handler=asked,
            extensions=[self.following], timeout=scenarios.PATIENCE,
        ) as self.client:
            yield

    async def called(self, tool, arguments, progress):
        return await self.client.call_tool_mcp(tool, arguments, progress_handler=progress)

    async def listed(self, what):
        return await getattr(self.client, f"list_{what}")()

    async def read(self, address):
        return (await self.client.read_resource(address))[0].text

    async def completed(self, reference, argument, value):
        return (await self.client.complete(reference, {"name": argument, "value": value})).values


async def main(program, home):
    for era in ("legacy", "modern"):
        with data_directory(home) as data:
            stdio = StdioTransport(
                program, ["serve", "--stdio"], cwd=f"{home}/root", env=settings(data), keep_alive=False
            )
            await adapter.tried(Adapter(stdio, era), NAME, "stdio")
        with serving(program, home) as address:
            http = StreamableHttpTransport(f"http://{address}/mcp")
            await adapter.tried(Adapter(http, era), NAME, "http")


anyio.run(main, *sys.argv[1:])
