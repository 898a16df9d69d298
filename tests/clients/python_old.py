"""The Python SDK of the protocol before, over standard input, streamable HTTP and WebSocket."""

import sys
import warnings
from datetime import timedelta

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.websocket import websocket_client

from journey import journey, serving, settings


async def run(transport):
    async with transport as (read, write, *_), ClientSession(
        read, write, read_timeout_seconds=timedelta(seconds=60)
    ) as session:
        greeting = await session.initialize()
        listed = (await session.list_tools()).tools
        tools = {tool.name: tool.outputSchema for tool in listed}

        def plain(result):
            return bool(result.isError), result.structuredContent, result.content[0].text

        async def call(name, arguments):
            return plain(await session.call_tool(name, arguments))

        async def wait_with_progress(name, arguments):
            reports = []

            async def note(progress, total, message):
                reports.append((progress, total, message))

            result = await session.call_tool(name, arguments, progress_callback=note)
            return *plain(result), len(reports)

        await journey(tools, call, wait_with_progress)
        return greeting.protocolVersion


async def main(program, home):
    # WebSocket was never part of the protocol, and the SDK says so each time; it is offered for those who use it.
    warnings.simplefilter("ignore", DeprecationWarning)
    stdio = stdio_client(StdioServerParameters(
        command=program, args=["serve", "--stdio"], cwd=f"{home}/root",
        env=settings(),
    ))
    print(f"clients: python, old, stdio: {await run(stdio)}", file=sys.stderr)
    with serving(program, home) as address:
        http = streamable_http_client(f"http://{address}/mcp")
        print(f"clients: python, old, http: {await run(http)}", file=sys.stderr)
        websocket = websocket_client(f"ws://{address}/ws")
        print(f"clients: python, old, websocket: {await run(websocket)}", file=sys.stderr)


anyio.run(main, *sys.argv[1:])
