"""The Python SDK of the protocol before, over standard input, streamable HTTP, WebSocket and raw TCP."""

import contextlib
import logging
import sys
import warnings
from datetime import timedelta

import anyio
import scenarios
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.websocket import websocket_client
from mcp.shared.message import SessionMessage
from serving import data_directory, raw_tcp, serving, settings

NAME = "Python SDK 1.30.0 (`mcp`)"


class Adapter:
    """Does what the scenarios ask with a `ClientSession` of the SDK."""

    era = "legacy"
    follows_tasks = False

    def __init__(self):
        self.person = None
        self._updates = anyio.create_memory_object_stream(100)

    @contextlib.asynccontextmanager
    async def connected(self, transport):
        async def heard(message):
            message = getattr(message, "root", message)
            if getattr(message, "method", "") == "notifications/resources/updated":
                self._updates[0].send_nowait(str(message.params.uri))

        async def asked(_context, params):
            content = self.person(params.message, params.requestedSchema)
            return types.ElicitResult(action="accept", content=content)

        async with transport as (read, write, *_), ClientSession(
            read, write, read_timeout_seconds=timedelta(seconds=scenarios.PATIENCE),
            message_handler=heard, elicitation_callback=asked,
        ) as self.session:
            self.greeting = await self.session.initialize()
            yield

    def hello(self):
        return {
            "version": self.greeting.protocolVersion,
            "server": self.greeting.serverInfo.name,
            "instructions": self.greeting.instructions,
            "capabilities": self.greeting.capabilities.model_dump(exclude_none=True).keys(),
        }

    async def tools(self):
        return {tool.name: tool.outputSchema for tool in (await self.session.list_tools()).tools}

    async def call(self, tool, arguments, note=None):
        async def noted(progress, total, message):
            note((progress, total, message))

        result = await self.session.call_tool(tool, arguments, progress_callback=noted if note else None)
        return bool(result.isError), result.structuredContent, result.content[0].text

    async def refused(self, tool, arguments):
        try:
            await self.session.call_tool(tool, arguments)
        except McpError as error:
            return error.error.code, error.error.message
        raise AssertionError("the call was not refused")

    async def cancelled(self, tool, arguments):
        # This SDK tells nobody when a call of its own is given up: its users do.
        request = self.session._request_id
        async with anyio.create_task_group() as group:
            await self.call(tool, arguments, lambda _: group.cancel_scope.cancel())
            raise AssertionError("the call was answered")
        params = types.CancelledNotificationParams(requestId=request, reason="enough")
        await self.session.send_notification(
            types.ClientNotification(types.CancelledNotification(params=params))
        )

    async def resources(self):
        return [str(resource.uri) for resource in (await self.session.list_resources()).resources]

    async def templates(self):
        listed = await self.session.list_resource_templates()
        return [template.uriTemplate for template in listed.resourceTemplates]

    async def read(self, address):
        return (await self.session.read_resource(address)).contents[0].text

    @contextlib.asynccontextmanager
    async def watching(self, address):
        await self.session.subscribe_resource(address)
        yield self._updates[1].receive
        await self.session.unsubscribe_resource(address)

    async def prompts(self):
        return [prompt.name for prompt in (await self.session.list_prompts()).prompts]

    async def prompt(self, name, arguments):
        return (await self.session.get_prompt(name, arguments)).messages[0].content.text

    async def complete_prompt(self, name, argument, value):
        reference = types.PromptReference(type="ref/prompt", name=name)
        found = await self.session.complete(reference, {"name": argument, "value": value})
        return found.completion.values

    async def complete_template(self, uri, argument, value):
        reference = types.ResourceTemplateReference(type="ref/resource", uri=uri)
        found = await self.session.complete(reference, {"name": argument, "value": value})
        return found.completion.values


def tcp(address):
    return raw_tcp(
        anyio, address,
        lambda line: SessionMessage(types.JSONRPCMessage.model_validate_json(line)),
        lambda message: message.message.model_dump_json(by_alias=True, exclude_none=True),
    )


async def tried(transport, name):
    adapter = Adapter()
    try:
        async with adapter.connected(transport):
            await scenarios.run(anyio, adapter, NAME, name, adapter.era)
    except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
        # What the server still tells while this SDK closes a connection, it has nobody to hand to, and breaks. All
        # scenarios are behind it by then: the table misses a row otherwise.
        pass


async def main(program, home):
    # WebSocket was never part of the protocol, and the SDK says so each time; it is offered for those who use it.
    warnings.simplefilter("ignore", DeprecationWarning)
    with data_directory(home) as data:
        stdio = StdioServerParameters(
            command=program, args=["serve", "--stdio"], cwd=f"{home}/root", env=settings(data)
        )
        await tried(stdio_client(stdio), "stdio")
    with serving(program, home) as address:
        await tried(streamable_http_client(f"http://{address}/mcp"), "http")
        await tried(websocket_client(f"ws://{address}/ws"), "websocket")
        await tried(tcp(address), "tcp")


# It warns of the answer to closing a session, which is a success.
logging.getLogger("mcp").setLevel(logging.ERROR)
anyio.run(main, *sys.argv[1:])
