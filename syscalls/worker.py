"""The worker ABI: the calls that the kernel makes to a worker, over the same frames."""

from typing import final

from msgspec import Raw

from syscalls.row import Args, Flag, Result, Row
from syscalls.turns import ToolSpec
from syscalls.wire import NIL


@final
class Run(Args, frozen=True, kw_only=True):
    """Run a program as process `pid` on `channel`; the reply is what it returned, an error how it failed.

    `program` is `MODULE:NAME`; with `file`, the module is that path inside the jail. `packages` are folders to import
    from. CANCEL with reason `TERM` is the signal TERM.
    """

    pid: int
    channel: int
    program: str
    args: Raw = NIL
    kwargs: Raw = NIL
    file: str | None = None
    model: str | None = None
    seed: int = 0
    packages: tuple[str, ...] = ()


@final
class Returned(Result, frozen=True, kw_only=True):
    """What the program returned, as msgpack."""

    value: Raw = NIL


@final
class Describe(Args, frozen=True, kw_only=True):
    """Which tool module: `MODULE:NAME` of a decorated function or of an object that holds several. `packages` are
    folders to import from."""

    program: str
    file: str | None = None
    packages: tuple[str, ...] = ()


@final
class Described(Result, frozen=True, kw_only=True):
    """The tools found there; `streaming` names those that yield items."""

    methods: tuple[ToolSpec, ...]
    streaming: tuple[str, ...] = ()


@final
class Invoke(Args, frozen=True, kw_only=True):
    """Call method `method` of the tool module described before. Its own calls meanwhile are those of process `pid`, on
    `channel`: what was lent for this call counts there."""

    method: str
    arguments: Raw = NIL
    pid: int = 0
    channel: int = 0


@final
class Yielded(Result, frozen=True, kw_only=True):
    """One thing that a tool yielded, as msgpack."""

    value: Raw = NIL


@final
class Parse(Args, frozen=True, kw_only=True):
    """Have the function `program` (`MODULE:NAME`) make text of `data`, the bytes of a file called `file`; of
    `text_bytes_max` at most. `packages` are folders to import from."""

    program: str
    data: bytes
    file: str = ""
    text_bytes_max: int
    packages: tuple[str, ...] = ()


@final
class Parsed(Result, frozen=True, kw_only=True):
    """The text."""

    text: str


DOOR_FD = 6
"""Where the worker of a door finds its listening socket."""


@final
class OpenDoor(Args, frozen=True, kw_only=True):
    """Serve the listening socket that the worker was given: what comes in there are calls of process `pid`, on
    `channel`. `key` is what clients must show, `model` the default of its process."""

    pid: int
    channel: int
    key: str
    model: str = ""


RUN = Row(0x00, "worker.run", Run, Returned, None, Flag(0), "Runs a program until it ends.")
DESCRIBE = Row(
    0x01, "worker.describe", Describe, Described, None, Flag.IDEMPOTENT, "Loads a tool module and lists its tools."
)
INVOKE = Row(0x02, "worker.invoke", Invoke, Returned, None, Flag.EFFECT, "Calls a tool.")
STREAM = Row(
    0x03, "worker.stream", Invoke, Returned, None, Flag.STREAM | Flag.EFFECT,
    "Calls a tool and takes what it yields; the tool goes on when an item has been taken.", Yielded,
)  # fmt: skip

DOOR = Row(0x04, "worker.door", OpenDoor, Returned, None, Flag.EFFECT, "Serves a command's door until it is cancelled.")

PARSE = Row(0x05, "worker.parse", Parse, Parsed, None, Flag.IDEMPOTENT, "Makes text of a document.")

TABLE = {row.number: row for row in (RUN, DESCRIBE, INVOKE, STREAM, DOOR, PARSE)}
