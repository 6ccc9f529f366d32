"""The message family, 0x30: mailboxes of processes, pipes between them, and topics that anybody may listen to."""

from typing import Literal, final

from msgspec import Raw

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import Args, Flag, Needs, Result, Row, Says
from syscalls.wire import NIL

End = Literal["reader", "writer"]


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


@final
class Pipe(Args, frozen=True, kw_only=True):
    """A new pipe that holds at most `capacity_bytes`, up to 1 MiB; the caller has both its ends."""

    capacity_bytes: int = 64 * 1024


@final
class Piped(Result, frozen=True, kw_only=True):
    """The number of the pipe, the same for both ends and for whoever is given one."""

    pipe: int


@final
class Write(Args, frozen=True, kw_only=True):
    """`data` for the pipe, of whose writer's end the caller must have; at most `timeout_s` is waited for room."""

    pipe: int
    data: bytes
    timeout_s: float | None = None


@final
class Read(Args, frozen=True, kw_only=True):
    """At most `bytes_max` of what is in the pipe; at most `timeout_s` is waited for the first byte."""

    pipe: int
    bytes_max: int = 64 * 1024
    timeout_s: float | None = None


@final
class Data(Result, frozen=True, kw_only=True):
    """What was read. Empty only at the end: every writer's end is closed and all has been read."""

    data: bytes = b""


@final
class Give(Args, frozen=True, kw_only=True):
    """The caller's `end` of `pipe` becomes that of `pid`, with what it holds; the caller has it no longer unless it
    says `keep`."""

    pipe: int
    end: End
    pid: int
    keep: bool = False


@final
class ClosePipe(Args, frozen=True, kw_only=True):
    """One end of `pipe`, or (None) all that the caller has of it."""

    pipe: int
    end: End | None = None


@final
class Publish(Args, frozen=True, kw_only=True):
    """`body` (any msgpack) for whoever listens to `topic` at this moment: a name without `*`."""

    topic: str
    body: Raw


@final
class Published(Result, frozen=True, kw_only=True):
    """How many listened."""

    subscribers: int


@final
class Subscribe(Args, frozen=True, kw_only=True):
    """A topic, a name without `*`. `queue_max` publications wait for a reader that is slow; beyond it the oldest are
    dropped."""

    topic: str
    queue_max: int = 256


@final
class News(Result, frozen=True, kw_only=True):
    """One publication: who, what, its number among all publications of the kernel, and how many before it were dropped
    because the reader was slow. The first item of a subscription has sender 0 and no body: from now on it listens."""

    sender: int
    seq: int
    body: Raw = NIL
    missed: int = 0


_PIPE_ERRORS = ((Errno.ENOENT, "the caller has no such end of that pipe."),)

SEND = Row(
    0x30, "message.send", Send, Nothing, Needs("send", "process:{pid}"), Flag.EFFECT | Flag.JOURNALED,
    "Puts a message into a mailbox.",
    says=Says(
        waits="While the mailbox is full, at most timeout_s.",
        cancelled="The message was not put into the mailbox.",
        errors=(
            (Errno.ESRCH, "nobody is there, or it ended before it took the message."),
            (Errno.ETIME, "the mailbox stayed full; nothing was sent."),
            (Errno.EINVAL, "the message is larger than a mailbox."),
        ),
    ),
)  # fmt: skip
RECEIVE = Row(
    0x31, "message.receive", Receive, Message, None, Flag.JOURNALED, "Takes a message from the caller's own mailbox.",
    says=Says(
        waits="Until a message of the topic is there, at most timeout_s.",
        cancelled="Nothing was taken.",
        errors=((Errno.ETIME, "no message came."),),
    ),
)  # fmt: skip
PIPE = Row(
    0x32, "message.pipe", Pipe, Piped, None, Flag.INLINE | Flag.JOURNALED,
    "Makes a pipe: bytes go in at one end and come out at the other, in order, and the writer waits for the reader.",
    says=Says(
        errors=(
            (Errno.EINVAL, "a capacity of less than one byte or more than 1 MiB."),
            (Errno.EAGAIN, "the caller has bounds.pipes_max pipes: close some."),
        ),
    ),
)  # fmt: skip
WRITE = Row(
    0x33, "message.write", Write, Nothing, None, Flag.EFFECT | Flag.JOURNALED,
    "Writes to a pipe; what two processes write at once is never mixed.",
    says=Says(
        waits="Until all of it is in the pipe, at most timeout_s.",
        cancelled="A first part of the data may be in the pipe; there is no telling how much.",
        errors=(
            *_PIPE_ERRORS,
            (Errno.EPIPE, "every reader's end is closed: nobody will read it."),
            (Errno.ETIME, "the pipe stayed full; a first part may be in it."),
        ),
    ),
)  # fmt: skip
READ = Row(
    0x34, "message.read", Read, Data, None, Flag.JOURNALED, "Reads from a pipe what is there.",
    says=Says(
        waits="Until there is a byte, or no writer's end is left; at most timeout_s.",
        cancelled="Nothing was taken.",
        errors=(*_PIPE_ERRORS, (Errno.ETIME, "nothing was written."), (Errno.EINVAL, "bytes_max below 1.")),
    ),
)  # fmt: skip
PUBLISH = Row(
    0x35, "message.publish", Publish, Published, Needs("publish", "topic:{topic}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Tells whoever listens. A listener that is slow misses publications and delays nobody.",
    says=Says(errors=((Errno.EINVAL, "a topic with `*`, or a body too large for an item of a stream."),)),
)  # fmt: skip
SUBSCRIBE = Row(
    0x36, "message.subscribe", Subscribe, Nothing, Needs("subscribe", "topic:{topic}"),
    Flag.STREAM | Flag.JOURNALED, "Listens to a topic until it is cancelled.", News,
    says=Says(
        waits="For publications, until it is cancelled.",
        cancelled="It listens no longer.",
        errors=((Errno.EINVAL, "a topic with `*`, or a queue_max outside 1 to bounds.mailbox_messages_max."),),
    ),
)  # fmt: skip
GIVE = Row(
    0x37, "message.give", Give, Nothing, Needs("send", "process:{pid}"), Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Gives an end of a pipe to another process.",
    says=Says(errors=(*_PIPE_ERRORS, (Errno.EAGAIN, "that process has bounds.pipes_max pipes."))),
)  # fmt: skip
CLOSE = Row(
    0x38, "message.close", ClosePipe, Nothing, None, Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Closes an end of a pipe. What a process has of pipes is closed when it ends.",
    says=Says(errors=_PIPE_ERRORS),
)  # fmt: skip

ROWS = (SEND, RECEIVE, PIPE, WRITE, READ, PUBLISH, SUBSCRIBE, GIVE, CLOSE)
