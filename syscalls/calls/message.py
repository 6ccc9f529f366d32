"""The message family, 0x30: mailboxes of processes."""

from typing import final

from msgspec import Raw

from syscalls.calls.process import Nothing
from syscalls.row import Args, Flag, Needs, Result, Row


@final
class Send(Args, frozen=True, kw_only=True):
    """`body` (any msgpack) for the mailbox of `pid`; waits while that mailbox is full, at most `timeout_s`."""

    pid: int
    body: Raw
    topic: str = ""
    timeout_s: float | None = None


@final
class Receive(Args, frozen=True, kw_only=True):
    """The oldest message, of `topic` if one is given; waits at most `timeout_s` (None: for ever)."""

    topic: str | None = None
    timeout_s: float | None = None


@final
class Message(Result, frozen=True, kw_only=True):
    """What came, and from whom."""

    sender: int
    body: Raw
    topic: str = ""


SEND = Row(
    0x30, "message.send", Send, Nothing, Needs("send", "process:{pid}"), Flag.EFFECT | Flag.JOURNALED,
    "Puts a message into a mailbox. ESRCH: nobody there. ETIME: the mailbox stayed full.",
)  # fmt: skip
RECEIVE = Row(
    0x31, "message.receive", Receive, Message, None, Flag.JOURNALED, "Takes a message from the caller's own mailbox."
)

ROWS = (SEND, RECEIVE)
