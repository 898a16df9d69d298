"""Does what the scenarios ask with a client of the newest Python SDK, or with one that stands on it. Such clients differ in
what they wrap around an answer."""

import contextlib
import logging
import warnings

import anyio
import scenarios
from following import Tasks
from mcp import MCPDeprecationWarning, MCPError
from mcp.client.subscriptions import listen
from mcp_types import PromptReference, ResourceTemplateReference

# Of each subscription of the older era the SDK says that it is old.
warnings.simplefilter("ignore", MCPDeprecationWarning)
logging.getLogger("mcp").setLevel(logging.ERROR)


class Adapter:
    """What such clients have in common; the others know how to connect, and how to call and list."""

    def __init__(self, era):
        self.era = era
        self.person = None
        self.follows_tasks = era == "modern"
        self.client = None
        self.following = Tasks()
        self._updates = anyio.create_memory_object_stream(100)

    @property
    def mode(self):
        return "auto" if self.era == "modern" else "legacy"

    async def heard(self, message):
        message = getattr(message, "root", message)
        if getattr(message, "method", "") == "notifications/resources/updated":
            self._updates[0].send_nowait(str(message.params.uri))

    def hello(self):
        can = self.client.server_capabilities
        return {
            "version": self.client.protocol_version,
            "server": self.client.server_info.name,
            "instructions": self.client.instructions,
            "capabilities": can.model_dump(exclude_none=True).keys(),
        }

    async def tools(self):
        return {tool.name: tool.output_schema for tool in await self.listed("tools")}

    async def call(self, tool, arguments, note=None):
        async def noted(progress, total, message):
            note((progress, total, message))

        result = await self.called(tool, arguments, noted if note else None)
        return bool(result.is_error), result.structured_content, result.content[0].text

    async def refused(self, tool, arguments):
        try:
            await self.called(tool, arguments, None)
        except MCPError as error:
            return error.error.code, error.error.message
        raise AssertionError("the call was not refused")

    async def cancelled(self, tool, arguments):
        async with anyio.create_task_group() as group:
            await self.call(tool, arguments, lambda _: group.cancel_scope.cancel())
            raise AssertionError("the call was answered")

    async def resources(self):
        return [str(resource.uri) for resource in await self.listed("resources")]

    async def templates(self):
        return [template.uri_template for template in await self.listed("resource_templates")]

    @contextlib.asynccontextmanager
    async def watching(self, address):
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
        return [prompt.name for prompt in await self.listed("prompts")]

    async def prompt(self, name, arguments):
        messages = (await self.client.get_prompt(name, arguments)).messages
        return messages[0].content.text

    async def complete_prompt(self, name, argument, value):
        return await self.completed(PromptReference(name=name), argument, value)

    async def complete_template(self, uri, argument, value):
        return await self.completed(ResourceTemplateReference(uri=uri), argument, value)

    async def followed(self, tool, arguments):
        is_error, structured, text = await self.call(tool, arguments)
        assert not is_error, text
        return self.following.followed, structured


async def tried(adapter, name, transport):
    """Takes a client through all scenarios over one transport."""
    async with adapter.connected():
        await scenarios.run(anyio, adapter, name, transport, adapter.era)
