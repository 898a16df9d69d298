"""The tasks extension for clients of the Python SDK of the newest protocol, which lets its users bring extensions."""

from typing import Any, ClassVar, Literal

import anyio
from mcp.client.extension import ClientExtension, ResultClaim
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict


class Created(Result):
    """What a call answers whose work goes on as a task."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"


class Looked(Result):
    """How a task stands."""

    model_config = ConfigDict(extra="allow")


class GetParams(RequestParams):
    task_id: str


class Get(Request[GetParams, Literal["tasks/get"]]):
    # Over HTTP the head of the request names the task, too.
    name_param: ClassVar[str] = "taskId"
    method: Literal["tasks/get"] = "tasks/get"
    params: GetParams


class Tasks(ClientExtension):
    """Follows a task to its end."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self):
        self.followed: dict[str, Any] | None = None

    def settings(self):
        return {}

    def claims(self):
        return [ResultClaim(result_type="task", model=Created, resolve=self._settle)]

    async def _settle(self, created, context):
        self.followed = created.model_dump(by_alias=True)
        request = Get(params=GetParams(task_id=self.followed["taskId"]))
        while True:
            found = (await context.session.send_request(request, Looked)).model_dump(by_alias=True)
            if found["status"] == "completed":
                return CallToolResult.model_validate(found["result"])
            if found["status"] != "working":
                raise AssertionError(f"the task is {found['status']}: {found}")
            await anyio.sleep(found["pollIntervalMs"] / 1000)
