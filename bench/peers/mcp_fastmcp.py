"""A server made with FastMCP that has one tool, `list_machines`, which answers out of memory.

Run as `python mcp_fastmcp.py stdio` or `python mcp_fastmcp.py http PORT`.
"""

import json
import pathlib
import sys

from fastmcp import FastMCP
from fastmcp.tools import ToolResult

ANSWER = json.loads((pathlib.Path(__file__).parent / "machines.json").read_text())

server = FastMCP("bench")


@server.tool(output_schema={"type": "object", "properties": {"machines": {"type": "array"}}})
def list_machines() -> ToolResult:
    """Lists the machines."""
    return ToolResult(content=ANSWER["text"], structured_content=ANSWER["structured"])


if __name__ == "__main__":
    how, *port = sys.argv[1:]
    if how == "stdio":
        server.run(transport="stdio", show_banner=False)
    else:
        server.run(
            transport="http", host="127.0.0.1", port=int(port[0]), path="/mcp", show_banner=False,
            uvicorn_config={"access_log": False, "log_level": "error"},
        )
