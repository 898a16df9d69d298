"""The client of FastMCP, in both eras, over standard input and streamable HTTP."""

import contextlib
import logging
import sys
import warnings

import anyio
import scenarios
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from following import Tasks
from mcp import MCPDeprecationWarning, MCPError
from mcp.client.subscriptions import listen
from mcp_types import PromptReference, ResourceTemplateReference
from serving import data_directory, serving, settings

NAME = "FastMCP 4.1.2"


class Adapter:
    """Does what the scenarios ask with a `Client` of FastMCP."""

    def __init__(self, transport, era):
        self.era = era
        self.person = None
        self.follows_tasks = era == "modern"
        self._transport = transport
        self._following = Tasks()
        self._updates = anyio.create_memory_object_stream(100)

    @contextlib.asynccontextmanager
    async def connected(self):
        async def heard(message):
            message = getattr(message, "root", message)
            if getattr(message, "method", "") == "notifications/resources/updated":
                self._updates[0].send_nowait(str(message.params.uri))

        async def asked(message, _type, params, _context):
            return self.person(message, params.requested_schema)

        mode = "auto" if self.era == "modern" else "legacy"
        async with Client(
            self._transport, mode=mode, message_handler=heard, elicitation_handler=asked,
            extensions=[self._following], timeout=scenarios.PATIENCE,
        ) as self.client:
            yield

    def hello(self):
        can = self.client.server_capabilities
        return {
            "version": self.client.protocol_version,
            "server": self.client.server_info.name,
            "instructions": self.client.instructions,
            "capabilities": can.model_dump(exclude_none=True).keys(),
        }

    async def tools(self):
        return {tool.name: tool.output_schema for tool in await self.client.list_tools()}

    async def call(self, tool, arguments, note=None):
        async def noted(progress, total, message):
            note((progress, total, message))

        result = await self.client.call_tool_mcp(
            tool, arguments, progress_handler=noted if note else None
        )
        return bool(result.is_error), result.structured_content, result.content[0].text

    async def refused(self, tool, arguments):
        try:
            await self.client.call_tool_mcp(tool, arguments)
        except MCPError as error:
            return error.error.code, error.error.message
        raise AssertionError("the call was not refused")

    async def cancelled(self, tool, arguments):
        async with anyio.create_task_group() as group:
            await self.call(tool, arguments, lambda _: group.cancel_scope.cancel())
            raise AssertionError("the call was answered")

    async def resources(self):
        return [str(resource.uri) for resource in await self.client.list_resources()]

    async def templates(self):
        return [template.uri_template for template in await self.client.list_resource_templates()]

    async def read(self, address):
        return (await self.client.read_resource(address))[0].text

    @contextlib.asynccontextmanager
    async def watching(self, address):
        # FastMCP leaves subscriptions to the session of the SDK beneath it.
        session = self.client.session
        if self.era == "modern":
            async with listen(session, resource_subscriptions=[address]) as subscription:
                events = aiter(subscription)

                async def told():
                    return str((await anext(events)).uri)

                yield told
            return
        await session.subscribe_resource(address)
        yield self._updates[1].receive
        await session.unsubscribe_resource(address)

    async def prompts(self):
        return [prompt.name for prompt in await self.client.list_prompts()]

    async def prompt(self, name, arguments):
        return (await self.client.get_prompt(name, arguments)).messages[0].content.text

    async def complete_prompt(self, name, argument, value):
        given = {"name": argument, "value": value}
        return (await self.client.complete(PromptReference(name=name), given)).values

    async def complete_template(self, uri, argument, value):
        given = {"name": argument, "value": value}
        return (await self.client.complete(ResourceTemplateReference(uri=uri), given)).values

    async def followed(self, tool, arguments):
        is_error, structured, text = await self.call(tool, arguments)
        assert not is_error, text
        return self._following.followed, structured


async def tried(transport, name, era):
    adapter = Adapter(transport, era)
    async with adapter.connected():
        await scenarios.run(anyio, adapter, NAME, name, era)


async def main(program, home):
    for era in ("legacy", "modern"):
        with data_directory(home) as data:
            stdio = StdioTransport(
                program, ["serve", "--stdio"], cwd=f"{home}/root", env=settings(data), keep_alive=False
            )
            await tried(stdio, "stdio", era)
        with serving(program, home) as address:
            await tried(StreamableHttpTransport(f"http://{address}/mcp"), "http", era)


# Of each subscription of the older era the SDK says that it is old.
warnings.simplefilter("ignore", MCPDeprecationWarning)
logging.getLogger("mcp").setLevel(logging.ERROR)
anyio.run(main, *sys.argv[1:])
