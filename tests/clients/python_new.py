"""The Python SDK of the newest protocol, in both eras, over standard input, raw TCP and streamable HTTP."""

import contextlib
import sys

import anyio
from mcp import Client, StdioServerParameters
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from journey import journey, serving, settings


@contextlib.asynccontextmanager
async def raw_tcp(address):
    """A transport as the SDK wants it: lines of JSON over a TCP connection, as on standard input and output."""
    host, port = address.rsplit(":", 1)
    stream = await anyio.connect_tcp(host, int(port))
    incoming, read = anyio.create_memory_object_stream(0)
    write, outgoing = anyio.create_memory_object_stream(0)

    async def receive():
        buffer = b""
        async with incoming:
            with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                while True:
                    buffer += await stream.receive()
                    *lines, buffer = buffer.split(b"\n")
                    for line in lines:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                        await incoming.send(SessionMessage(message))

    async def send():
        async with outgoing:
            async for message in outgoing:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stream.send(text.encode() + b"\n")

    async with stream, anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(send)
        yield read, write
        group.cancel_scope.cancel()


async def run(server, mode):
    async with Client(server, mode=mode, read_timeout_seconds=60) as client:
        listed = (await client.list_tools()).tools
        tools = {tool.name: tool.output_schema for tool in listed}

        def plain(result):
            return bool(result.is_error), result.structured_content, result.content[0].text

        async def call(name, arguments):
            return plain(await client.call_tool(name, arguments))

        async def wait_with_progress(name, arguments):
            reports = []

            async def note(progress, total, message):
                reports.append((progress, total, message))

            result = await client.call_tool(name, arguments, progress_callback=note)
            return *plain(result), len(reports)

        await journey(tools, call, wait_with_progress)
        return client.protocol_version


async def main(program, home):
    for mode in ("auto", "legacy"):
        stdio = StdioServerParameters(
            command=program, args=["serve", "--stdio"], cwd=f"{home}/root",
            env=settings(),
        )
        print(f"clients: python, new, {mode}, stdio: {await run(stdio, mode)}", file=sys.stderr)
        with serving(program, home) as address:
            print(f"clients: python, new, {mode}, http: {await run(f'http://{address}/mcp', mode)}", file=sys.stderr)
            print(f"clients: python, new, {mode}, tcp: {await run(raw_tcp(address), mode)}", file=sys.stderr)


anyio.run(main, *sys.argv[1:])
