"""The public face: what people write programs, tools and clients against."""

from syscalls.calls.process import Budget
from syscalls.errors import SyscallError
from syscalls.turns import ToolSpec, Turn, assistant, system, user
from syscalls.turns import tool as tool_turn
from syscalls.worker_limits import CallLimits, WorkerLimits
from userland.sdk.blocking import BlockingSys, connect_blocking
from userland.sdk.child import ChildFailed, Terminated
from userland.sdk.connect import connect
from userland.sdk.context import Answer, Context
from userland.sdk.program import program, tool
from userland.sdk.system import Sys

__all__ = [
    "Answer",
    "BlockingSys",
    "Budget",
    "CallLimits",
    "ChildFailed",
    "Context",
    "Sys",
    "SyscallError",
    "Terminated",
    "ToolSpec",
    "Turn",
    "WorkerLimits",
    "assistant",
    "connect",
    "connect_blocking",
    "program",
    "system",
    "tool",
    "tool_turn",
    "user",
]
