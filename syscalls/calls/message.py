"""The message family, 0x30: mailboxes of processes."""

from typing import final

from msgspec import Raw

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import Args, Flag, Needs, Result, Row, Says


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
    0x30,
    "message.send",
    Send,
    Nothing,
    Needs("send", "process:{pid}"),
    Flag.EFFECT | Flag.JOURNALED,
    "Puts a message into a mailbox.",
    says=Says(
        waits="Waits while the mailbox is full, at most timeout_s.",
        cancelled="The message was not put in.",
        errors=(
            (Errno.ESRCH, "there is no such process, or it ended before it took the message."),
            (Errno.ETIME, "the mailbox stayed full for timeout_s; the message was not put in."),
            (
                Errno.EINVAL,
                "the message is larger than a whole mailbox (bounds.mailbox_bytes_max), or timeout_s is negative.",
            ),
        ),
    ),
)
RECEIVE = Row(
    0x31,
    "message.receive",
    Receive,
    Message,
    None,
    Flag.JOURNALED,
    "Takes a message from the caller's own mailbox.",
    says=Says(
        waits="Waits for a message, at most timeout_s.",
        cancelled="No message is taken: it stays for the next receive.",
        errors=(
            (Errno.ETIME, "no message came in timeout_s."),
            (Errno.EINVAL, "timeout_s is negative."),
        ),
    ),
)

ROWS = (SEND, RECEIVE)
