"""The device family, 0x40: tools, stores and whatever else a driver or a plugin serves."""

from typing import Annotated, Literal, final

from msgspec import Raw

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import MANY, Args, Flag, Needs, Result, Row, Says
from syscalls.turns import ToolSpec
from syscalls.wire import NIL
from syscalls.worker_limits import CallLimits

DeviceKind = Literal["model", "embedding", "store", "files", "fetch", "tool"]


@final
class ListDevices(Args, frozen=True, kw_only=True):
    """All devices, or those of one kind."""

    kind: DeviceKind | None = None


@final
class DeviceInfo(Result, frozen=True, kw_only=True):
    """One device. `state` is `ready`, `starting`, `restarting` or `failed`; `host` the pid of the OS process that
    serves it; `methods` only for tools, and which of them stream."""

    name: str
    kind: DeviceKind
    driver: str
    state: str
    host: int = 0
    restarts: int = 0
    busy: int = 0
    slots: int = 0
    methods: tuple[ToolSpec, ...] = ()
    streaming: tuple[str, ...] = ()
    detail: str = ""


@final
class Devices(Result, frozen=True, kw_only=True):
    """The device registry."""

    devices: tuple[DeviceInfo, ...]


@final
class OpenDevice(Args, frozen=True, kw_only=True):
    """A tool, or a `collection` of a store: the caller's principal's own, made when something is added.

    `exclusive`: nobody else may use it until the handle is closed or the process has ended."""

    device: str
    exclusive: bool = False
    collection: str = ""


@final
class OpenedDevice(Result, frozen=True, kw_only=True):
    """A handle, the caller's own, and what can be called; `streaming` names the methods that yield items."""

    handle: int
    kind: DeviceKind
    methods: tuple[ToolSpec, ...] = ()
    streaming: tuple[str, ...] = ()


@final
class CloseDevice(Args, frozen=True, kw_only=True):
    """A handle of the caller's."""

    handle: int


@final
class CallTool(Args, frozen=True, kw_only=True):
    """Method `method` of `device` with a JSON-like object; by a `handle` on that device, which a store needs. `lend`
    are numbers of the caller's capabilities that a tool may use while it serves this call, for this call alone. With
    `limits`, or where the tool has such, the call is ended when it runs over one."""

    device: str
    method: str
    arguments: Raw = NIL
    timeout_s: float | None = None
    handle: int = 0
    lend: Annotated[tuple[int, ...], MANY] = ()
    limits: CallLimits | None = None


@final
class ListParsers(Args, frozen=True, kw_only=True):
    """All of them."""


@final
class ParserInfo(Result, frozen=True, kw_only=True):
    """A parser of documents, `PACKAGE.PARSER`: for files whose names end in one of `suffixes` (small letters, with the
    dot), and for what is of one of the media `types`."""

    name: str
    package: str
    version: str
    suffixes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


@final
class ParserTable(Result, frozen=True, kw_only=True):
    """The parsers of installed packages, by name. No two are for the same files."""

    parsers: tuple[ParserInfo, ...]


@final
class ParseDocument(Args, frozen=True, kw_only=True):
    """`data`, the bytes of the file that is called `file`, for the parser of that name. Its worker reads no other
    document, sees no file, and holds no right: neither the package's nor the caller's."""

    parser: str
    data: bytes
    file: str = ""


@final
class ParsedDocument(Result, frozen=True, kw_only=True):
    """What it made of it."""

    text: str


@final
class AddVectors(Args, frozen=True, kw_only=True):
    """What `add` of a store takes: ids, and for each one vector of float32, little-endian, one after another."""

    ids: Annotated[tuple[str, ...], MANY]
    vectors: bytes


@final
class QueryVectors(Args, frozen=True, kw_only=True):
    """What `query` of a store takes. It returns `ids` and their cosines, `scores`, best first."""

    vector: bytes
    k: int = 10
    only: Annotated[tuple[str, ...], MANY] | None = None


@final
class DeleteVectors(Args, frozen=True, kw_only=True):
    """What `delete` of a store takes: ids, or nothing for the whole collection."""

    ids: Annotated[tuple[str, ...], MANY] | None = None


@final
class ToolItem(Result, frozen=True, kw_only=True):
    """One thing that a tool yielded (msgpack), and the same as text for a model."""

    value: Raw = NIL
    text: str = ""


@final
class ToolStreamed(Result, frozen=True, kw_only=True):
    """How many items there were."""

    items: int


@final
class ToolAnswer(Result, frozen=True, kw_only=True):
    """What the tool returned (msgpack), and the same as text for a model."""

    value: Raw = NIL
    text: str = ""


LIST = Row(
    0x40,
    "device.list",
    ListDevices,
    Devices,
    Needs("list", "device:*"),
    Flag.INLINE | Flag.IDEMPOTENT,
    "The device registry.",
)
CALL = Row(
    0x41,
    "device.call",
    CallTool,
    ToolAnswer,
    Needs("call", "tool:{device}.{method}"),
    Flag.EFFECT | Flag.JOURNALED,
    "Calls a tool, or a collection of a store (`store:{device}.{method}` then); a plugin's tool runs in a sandboxed "
    "worker with the plugin's rights, not the caller's.",
    says=Says(
        waits="For the tool, whose worker is started if it does not run; at most timeout_s.",
        cancelled="The tool is told to stop, and may have done part of its work or all.",
        costs="Nothing but the call; what the tool asks of models is on its own account. What is added to a collection "
        "counts as bytes stored until it is deleted: each id, and four bytes for each number of its vector.",
        errors=(
            (Errno.EQUOTA, "what is added does not fit a limit on bytes stored; nothing was."),
            (Errno.ENOENT, "no such tool, or it has no such method; the message lists what there is."),
            (Errno.ETIME, "it did not answer in timeout_s; its work may have been done."),
            (Errno.EAGAIN, "its worker did not come up in time; nothing was done."),
            (Errno.EUNKNOWN, "its worker died under the call: what it did is not known."),
            (Errno.ELIMIT, "it ran over a limit of the call, which the message names; it may have done part."),
            (Errno.EIO, "the tool failed, or workers of it died at the start."),
            (Errno.EBUSY, "another process holds the tool alone."),
            (Errno.EPERM, "a capability to be lent is not the caller's; the tool was not called."),
            (
                Errno.EINVAL,
                "timeout_s is negative, the tool refused the arguments, or the handle is on another device.",
            ),
        ),
    ),
)
OPEN = Row(
    0x42, "device.open", OpenDevice, OpenedDevice, Needs("open", "device:{device}"), Flag.EFFECT | Flag.JOURNALED,
    "A handle on a tool or on a collection of a store, shared or alone (`tool:{device}` and `store:{device}` are names "
    "of it too).",
    says=Says(
        waits="For the tool's worker to say what it serves.",
        cancelled="There is no handle.",
        errors=(
            (Errno.ENOENT, "no such device."),
            (Errno.EBUSY, "another holds it alone, or it is wanted alone and another holds it."),
            (Errno.EINVAL, "it is a model or an embedding, or a collection is named for a tool, or none for a store."),
            (Errno.EAGAIN, "the process has bounds.device_handles_max handles, or the worker did not come up in time."),
            (Errno.EIO, "workers of the tool died at the start."),
        ),
    ),
)  # fmt: skip
STREAM = Row(
    0x43, "device.stream", CallTool, ToolStreamed, Needs("call", "tool:{device}.{method}"),
    Flag.STREAM | Flag.EFFECT | Flag.JOURNALED,
    "Calls a tool and takes what it yields, one by one; a method that returns yields once.",
    ToolItem,
    says=Says(
        waits="For the tool, and for its own reader: a tool whose items nobody takes is not asked for more.",
        cancelled="The tool's generator is cancelled where it is.",
        costs="Nothing but the call; what the tool asks of models is on its own account.",
        errors=(
            (Errno.ENOENT, "no such tool, or it has no such method; the message lists what there is."),
            (Errno.ETIME, "it had not ended in timeout_s; the items before it were given."),
            (Errno.EAGAIN, "its worker did not come up in time; nothing was done."),
            (Errno.EUNKNOWN, "its worker died under the call: what it did is not known."),
            (Errno.ELIMIT, "it ran over a limit of the call, which the message names; it may have done part."),
            (Errno.EIO, "the tool failed, or workers of it died at the start."),
            (Errno.EBUSY, "another process holds the tool alone."),
            (Errno.EPERM, "a capability to be lent is not the caller's; the tool was not called."),
            (Errno.EINVAL, "the tool refused the arguments, an item fits no frame, or the device is a store."),
        ),
    ),
)  # fmt: skip
CLOSE = Row(
    0x44, "device.close", CloseDevice, Nothing, None, Flag.INLINE | Flag.EFFECT,
    "Gives a handle back.",
    says=Says(
        cancelled="The handle is given back all the same.",
        errors=((Errno.ENOENT, "the caller has no such handle."),),
    ),
)  # fmt: skip

PARSERS = Row(
    0x46, "device.parsers", ListParsers, ParserTable, Needs("list", "parser:*"), Flag.INLINE | Flag.IDEMPOTENT,
    "The parsers of documents that installed packages bring, and the files that each is for.",
)  # fmt: skip
PARSE = Row(
    0x47,
    "device.parse",
    ParseDocument,
    ParsedDocument,
    Needs("parse", "parser:{parser}"),
    Flag.IDEMPOTENT | Flag.JOURNALED,
    "Has a package's parser make text of a file, in a sandboxed worker of its own that is given these bytes and "
    "nothing else.",
    says=Says(
        waits="For a worker and for the parser, at most bounds.parse_s; and while the caller has bounds.parses_max "
        "under way.",
        costs="Nothing but the call.",
        errors=(
            (Errno.ENOENT, "no such parser; the message lists what there is."),
            (Errno.EINVAL, "the document is too large, or the parser says what is wrong with it."),
            (Errno.ELIMIT, "the parser took longer than bounds.parse_s, or ran over a limit of its worker."),
            (Errno.EIO, "the parser failed, died, or gave more text than bounds.parsed_bytes_max."),
            (Errno.EAGAIN, "the process table is full (bounds.processes_max)."),
        ),
    ),
)

ROWS = (LIST, CALL, OPEN, STREAM, CLOSE, PARSERS, PARSE)
