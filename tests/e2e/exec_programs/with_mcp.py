"""The official MCP client, until its budget of calls is used up."""

import json
import os

import anyio
from mcp import Client
from mcp.types import TextContent


async def main() -> None:
    told: dict[str, object] = {}
    async with Client(os.environ["KERNOS_MCP_URL"]) as client:
        listed = await client.list_tools()
        told["tools"] = {tool.name: sorted(tool.input_schema["properties"]) for tool in listed.tools}
        answered = await client.call_tool("calculator_calculate", {"expression": "6*7"})
        told["answer"] = [part.text for part in answered.content if isinstance(part, TextContent)]
        for _ in range(1000):
            refused = await client.call_tool("calculator_calculate", {"expression": "1+1"})
            if refused.is_error:
                told["refused"] = [part.text for part in refused.content if isinstance(part, TextContent)]
                break
    print(json.dumps(told))


anyio.run(main)
