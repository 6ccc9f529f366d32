"""What a package of the tests adds: functions that serve system calls."""

from typing import Any

from kernos import Sys, SyscallError, tool


@tool
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@tool
async def who_asks(sys: Sys) -> list[str]:
    """The rights that this call runs with."""
    return [handle.right for handle in await sys.rights.list()]


@tool
async def may_ask(sys: Sys) -> str:
    """Whether this call may ask about a model."""
    try:
        await sys.call("model.info", model="sim")
    except SyscallError as refused:
        return refused.errno.name
    return "served"


@tool
def odd() -> Any:
    """What msgpack can say, and JSON cannot."""
    return {"a": {(1, 2): 3}}


@tool
def fails() -> None:
    """Always."""
    raise RuntimeError("no luck")
