"""The Python SDK of the newest protocol, in both eras, over standard input, streamable HTTP and raw TCP."""

import contextlib
import sys

import adapter
import anyio
import scenarios
from mcp import Client, StdioServerParameters
from mcp.shared.message import SessionMessage
from mcp_types import ElicitResult, jsonrpc_message_adapter
from serving import data_directory, raw_tcp, serving, settings

NAME = "Python SDK 2.3.0 (`mcp`)"


class Adapter(adapter.Adapter):
    """Does what the scenarios ask with a `Client` of the SDK."""

    def __init__(self, connect, era):
        super().__init__(era)
        self._connect = connect

    @contextlib.asynccontextmanager
    async def connected(self):
        async def asked(_context, params):
            content = self.person(params.message, params.requested_schema)
            return ElicitResult(action="accept", content=content)

        async with Client(
            self._connect(), mode=self.mode, message_handler=self.heard, elicitation_callback=asked,
            # Of the older era too: there the extension means something else, and a task could not be read.
            extensions=[self.following], read_timeout_seconds=scenarios.PATIENCE,
        ) as self.client:
            yield

    async def called(self, tool, arguments, progress):
        return await self.client.call_tool(tool, arguments, progress_callback=progress)

    async def listed(self, what):
        return getattr(await getattr(self.client, f"list_{what}")(), what)

    async def read(self, address):
        return (await self.client.read_resource(address)).contents[0].text

    async def completed(self, reference, argument, value):
        found = await self.client.complete(reference, {"name": argument, "value": value})
        return found.completion.values


def tcp(address):
    return raw_tcp(
        anyio, address,
        lambda line: SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)),
        lambda message: message.message.model_dump_json(by_alias=True, exclude_unset=True),
    )


async def main(program, home):
    for era in ("legacy", "modern"):
        with data_directory(home) as data:
            stdio = StdioServerParameters(
                command=program, args=["serve", "--stdio"], cwd=f"{home}/root", env=settings(data)
            )
            await adapter.tried(Adapter(lambda: stdio, era), NAME, "stdio")
        with serving(program, home) as address:
            await adapter.tried(Adapter(lambda: f"http://{address}/mcp", era), NAME, "http")
            await adapter.tried(Adapter(lambda: tcp(address), era), NAME, "tcp")


anyio.run(main, *sys.argv[1:])
