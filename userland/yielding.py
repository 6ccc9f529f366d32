"""Tools that yield: called for the items one by one, or for all of them at once."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import trio
from msgspec import Raw

from syscalls.codec import unpack
from syscalls.errors import Invalid
from syscalls.wire import NIL
from userland.sdk.program import Tool
from userland.sdk.signature import bind
from userland.sdk.system import Sys

COLLECTED_MAX = 4096
"""Items in one answer; a tool that may yield more is to be streamed."""


async def pour(tool: Tool, arguments: Raw, take: Callable[[Any], Awaitable[None]], system: Sys) -> None:
    """Calls a tool and has every item taken before the next is asked for; one that returns yields once."""
    if not tool.streams:
        await take(await _called(tool, arguments, system))
        return
    async with aclosing(_items(tool, arguments, system)) as items:
        async for each in items:
            await take(each)


async def collect(tool: Tool, arguments: Raw, system: Sys) -> Any:
    """What a tool returns, or a list of what it yields. Raises Invalid (EINVAL) for more than COLLECTED_MAX items."""
    if not tool.streams:
        return await _called(tool, arguments, system)
    found: list[Any] = []

    async def take(each: Any) -> None:
        if len(found) == COLLECTED_MAX:
            raise Invalid(f"{tool.name} yields more than {COLLECTED_MAX} items: take them with device.stream")
        found.append(each)

    await pour(tool, arguments, take, system)
    return found


async def _called(tool: Tool, arguments: Raw, system: Sys) -> Any:
    value = _applied(tool, arguments, system)
    return await value if hasattr(value, "__await__") else value


async def _items(tool: Tool, arguments: Raw, system: Sys) -> AsyncGenerator[Any, None]:
    """Ends the tool's own generator with itself, wherever that is."""
    made = _applied(tool, arguments, system)
    if inspect.isasyncgen(made):
        async with aclosing(made):
            async for each in made:
                yield each
        return
    try:
        for each in made:
            await trio.lowlevel.checkpoint()
            yield each
    finally:
        made.close()


def _applied(tool: Tool, arguments: Raw, system: Sys) -> Any:
    given: dict[str, Any] = {} if bytes(arguments) == bytes(NIL) else unpack(dict[str, Any], arguments)
    first = (system,) if tool.calls else ()
    positional, named = bind(tool.function, (), given, skip=len(first))
    return tool.function(*first, *positional, **named)
