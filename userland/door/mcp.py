"""`/mcp`: the tools and the packages' system calls that the process was granted, for clients of the Model Context
Protocol (streamable HTTP).

Nothing is kept between requests, and nothing is sent that was not asked for: there is no session, and no stream.
"""

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, final

import msgspec
import trio
from msgspec import Raw, Struct

from syscalls.calls import capability, device
from syscalls.errors import SyscallError
from syscalls.rights import Right, allowed
from syscalls.turns import ToolSpec
from userland.door.server import Request, Response
from userland.sdk.device import ToolReply
from userland.sdk.plugin import free_name
from userland.sdk.system import Sys

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
"""Of the protocol, the newest first."""
_PARSE, _REQUEST, _METHOD, _PARAMS, _FAILED = -32700, -32600, -32601, -32602, -32603


@final
class Rpc(Struct):
    """One message of JSON-RPC; without an id it is a notification."""

    jsonrpc: str = ""
    method: str = ""
    id: int | str | None = None
    params: dict[str, Any] = {}


@final
class Refusal(Exception):
    """A request that is answered with an error of JSON-RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@final
class _Offered(Struct, frozen=True):
    """What a client may call, and how that is called."""

    spec: ToolSpec
    call: Callable[[dict[str, Any]], Awaitable[ToolReply]]


_decode = msgspec.json.Decoder(Rpc | list[Rpc]).decode


@final
class Mcp:
    """Answers MCP requests with system calls of the process."""

    def __init__(self, sys: Sys) -> None:
        self._sys = sys
        self._known: dict[str, _Offered] = {}

    async def answer(self, request: Request) -> Response:
        """One HTTP request: a message, or a list of them."""
        if request.method != "POST":
            return Response(405, b"", (("allow", "POST"),))
        try:
            asked = _decode(request.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
            return _json(400, _error(None, _PARSE, f"this is no JSON-RPC: {bad}"))
        many = asked if isinstance(asked, list) else [asked]
        answers = [await self._one(each) for each in many if each.method and each.id is not None]
        if not answers:
            return Response(202, b"", ())
        return _json(200, answers if isinstance(asked, list) else answers[0])

    async def _one(self, asked: Rpc) -> dict[str, Any]:
        try:
            result = await self._result(asked)
        except Refusal as refused:
            return _error(asked.id, refused.code, str(refused))
        except SyscallError as failed:
            return _error(asked.id, _FAILED, str(failed))
        return {"jsonrpc": "2.0", "id": asked.id, "result": result}

    async def _result(self, asked: Rpc) -> dict[str, Any]:
        match asked.method:
            case "initialize":
                wanted = asked.params.get("protocolVersion")
                return {
                    "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "kernos", "version": "1"},
                }
            case "ping":
                return {}
            case "tools/list":
                self._known = await self._tools()
                return {"tools": [_tool(name, each.spec) for name, each in self._known.items()]}
            case "tools/call":
                return await self._call(asked.params)
        raise Refusal(_METHOD, f"there is no method {asked.method!r} here: tools/list and tools/call")

    async def _tools(self) -> dict[str, _Offered]:
        """The granted ones, by the name that a client has for them: DEVICE_METHOD, PACKAGE_CALL."""
        held: capability.Held = await self._sys.call(capability.LIST)
        rights = [Right.parse(each.right) for each in held.capabilities]
        found: dict[str, _Offered] = {}
        devices: device.Devices = await self._sys.call(device.LIST, device.ListDevices(kind="tool"))
        named = [
            info
            for info in devices.devices
            if any(right.overlaps(Right(f"tool:{info.name}.*", ("call",))) for right in rights)
        ]
        unused = await self._started([info.name for info in named if not info.methods])
        for info in named:
            for spec in info.methods or unused.get(info.name, ()):
                if allowed(rights, "call", (f"tool:{info.name}.{spec.name}",)) is not None:
                    call = partial(self._sys.device(info.name).invoke, spec.name)
                    found[free_name(f"{info.name}_{spec.name}", found)] = _Offered(spec, call)
        if any(right.overlaps(Right("syscall:*", ("call",))) for right in rights):
            plugins = await self._sys.plugin_calls()
            for name, each in plugins.by_tool.items():
                if each.spec is not None:
                    found[free_name(name, found)] = _Offered(each.spec, partial(plugins.invoke, each.name))
        return found

    async def _started(self, names: list[str]) -> dict[str, tuple[ToolSpec, ...]]:
        """The methods of tools that nobody has used yet: they are started to say what they serve, all at once. One that
        cannot, or is another's alone, is left out: the others are there all the same."""
        found: dict[str, tuple[ToolSpec, ...]] = {}

        async def start(name: str) -> None:
            with contextlib.suppress(SyscallError):
                opened = await self._sys.open_device(name)
                found[name] = opened.methods
                await opened.close()

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(start, name)
        return found

    async def _call(self, params: dict[str, Any]) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments") or {}
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise Refusal(_PARAMS, "tools/call takes a name and an object of arguments")
        try:
            if name not in self._known:
                self._known = await self._tools()
            if name not in self._known:
                there = ", ".join(self._known) or "none"
                raise Refusal(_PARAMS, f"there is no tool {name!r} for this process; there are: {there}")
            reply = await self._known[name].call(arguments)
        except SyscallError as failed:
            return {"content": [_text(str(failed))], "isError": True}
        result: dict[str, Any] = {"content": [_text(reply.text)], "isError": False}
        structured = _as_json(reply.value) if isinstance(reply.value, dict) else None
        if structured is not None:
            result["structuredContent"] = structured
        return result


def _tool(name: str, spec: ToolSpec) -> dict[str, Any]:
    return {"name": name, "description": spec.description, "inputSchema": spec.parameters}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _as_json(value: dict[Any, Any]) -> Raw | None:
    """What a tool returned, None for what JSON cannot say: a tool may return what it likes, and has its text."""
    try:
        return Raw(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def _json(status: int, value: Any) -> Response:
    return Response(status, msgspec.json.encode(value))


def _error(id_: int | str | None, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message}}
