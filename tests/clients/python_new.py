"""The Python SDK of the newest protocol, in both eras, over standard input, streamable HTTP and raw TCP."""

import contextlib
import logging
import sys
import warnings

import anyio
import scenarios
from following import Tasks
from mcp import Client, MCPDeprecationWarning, MCPError, StdioServerParameters
from mcp.shared.message import SessionMessage
from mcp_types import (
    ElicitResult,
    PromptReference,
    ResourceTemplateReference,
    jsonrpc_message_adapter,
)
from serving import data_directory, raw_tcp, serving, settings

NAME = "Python SDK 2.3.0 (`mcp`)"


class Adapter:
    """Does what the scenarios ask with a `Client` of the SDK."""

    def __init__(self, connect, era):
        self.era = era
        self.person = None
        self.follows_tasks = era == "modern"
        self.client = None
        self._connect = connect
        self._following = Tasks()
        self._updates = anyio.create_memory_object_stream(100)

    @contextlib.asynccontextmanager
    async def connected(self):
        async def heard(message):
            if getattr(message, "method", "") == "notifications/resources/updated":
                self._updates[0].send_nowait(str(message.params.uri))

        async def asked(_context, params):
            content = self.person(params.message, params.requested_schema)
            return ElicitResult(action="accept", content=content)

        mode = "auto" if self.era == "modern" else "legacy"
        async with Client(
            self._connect(), mode=mode, message_handler=heard, elicitation_callback=asked,
            # Of the older era too: there the extension means something else, and a task could not be read.
            extensions=[self._following], read_timeout_seconds=scenarios.PATIENCE,
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
        return {tool.name: tool.output_schema for tool in (await self.client.list_tools()).tools}

    async def call(self, tool, arguments, note=None):
        async def noted(progress, total, message):
            note((progress, total, message))

        result = await self.client.call_tool(
            tool, arguments, progress_callback=noted if note else None
        )
        return bool(result.is_error), result.structured_content, result.content[0].text

    async def refused(self, tool, arguments):
        try:
            await self.client.call_tool(tool, arguments)
        except MCPError as error:
            return error.error.code, error.error.message
        raise AssertionError("the call was not refused")

    async def cancelled(self, tool, arguments):
        async with anyio.create_task_group() as group:
            await self.call(tool, arguments, lambda _: group.cancel_scope.cancel())
            raise AssertionError("the call was answered")

    async def resources(self):
        return [str(resource.uri) for resource in (await self.client.list_resources()).resources]

    async def templates(self):
        listed = await self.client.list_resource_templates()
        return [template.uri_template for template in listed.resource_templates]

    async def read(self, address):
        return (await self.client.read_resource(address)).contents[0].text

    @contextlib.asynccontextmanager
    async def watching(self, address):
        if self.era == "modern":
            async with self.client.listen(resource_subscriptions=[address]) as subscription:
                events = aiter(subscription)

                async def told():
                    return str((await anext(events)).uri)

                yield told
            return
        await self.client.session.subscribe_resource(address)
        yield self._updates[1].receive
        await self.client.session.unsubscribe_resource(address)

    async def prompts(self):
        return [prompt.name for prompt in (await self.client.list_prompts()).prompts]

    async def prompt(self, name, arguments):
        messages = (await self.client.get_prompt(name, arguments)).messages
        return messages[0].content.text

    async def complete_prompt(self, name, argument, value):
        found = await self.client.complete(PromptReference(name=name), {"name": argument, "value": value})
        return found.completion.values

    async def complete_template(self, uri, argument, value):
        found = await self.client.complete(
            ResourceTemplateReference(uri=uri), {"name": argument, "value": value}
        )
        return found.completion.values

    async def followed(self, tool, arguments):
        is_error, structured, text = await self.call(tool, arguments)
        assert not is_error, text
        return self._following.followed, structured


def tcp(address):
    return raw_tcp(
        anyio, address,
        lambda line: SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)),
        lambda message: message.message.model_dump_json(by_alias=True, exclude_unset=True),
    )


async def tried(connect, transport, era):
    adapter = Adapter(connect, era)
    async with adapter.connected():
        await scenarios.run(anyio, adapter, NAME, transport, era)


async def main(program, home):
    for era in ("legacy", "modern"):
        with data_directory(home) as data:
            stdio = StdioServerParameters(
                command=program, args=["serve", "--stdio"], cwd=f"{home}/root", env=settings(data)
            )
            await tried(lambda: stdio, "stdio", era)
        with serving(program, home) as address:
            await tried(lambda: f"http://{address}/mcp", "http", era)
            await tried(lambda: tcp(address), "tcp", era)


# Of each subscription of the older era the SDK says that it is old.
warnings.simplefilter("ignore", MCPDeprecationWarning)
logging.getLogger("mcp").setLevel(logging.ERROR)
anyio.run(main, *sys.argv[1:])
