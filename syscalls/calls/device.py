"""The device family, 0x40: tools, stores and whatever else a driver or a plugin serves."""

from typing import Literal, final

from msgspec import Raw

from syscalls.errors import Errno
from syscalls.row import Args, Flag, Needs, Result, Row, Says
from syscalls.turns import ToolSpec
from syscalls.wire import NIL

DeviceKind = Literal["model", "embedding", "store", "files", "fetch", "tool"]


@final
class ListDevices(Args, frozen=True, kw_only=True):
    """All devices, or those of one kind."""

    kind: DeviceKind | None = None


@final
class DeviceInfo(Result, frozen=True, kw_only=True):
    """One device. `state` is `ready`, `starting`, `restarting` or `failed`; `host` the pid of the OS process that
    serves it; `methods` only for tools."""

    name: str
    kind: DeviceKind
    driver: str
    state: str
    host: int = 0
    restarts: int = 0
    busy: int = 0
    slots: int = 0
    methods: tuple[ToolSpec, ...] = ()
    detail: str = ""


@final
class Devices(Result, frozen=True, kw_only=True):
    """The device registry."""

    devices: tuple[DeviceInfo, ...]


@final
class CallTool(Args, frozen=True, kw_only=True):
    """Method `method` of the tool `device` with a JSON-like object."""

    device: str
    method: str
    arguments: Raw = NIL
    timeout_s: float | None = None


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
    "Calls a tool; a plugin's tool runs in a sandboxed worker with the plugin's rights, not the caller's.",
    says=Says(
        waits="For the tool, whose worker is started if it does not run; at most timeout_s.",
        cancelled="The tool is told to stop, and may have done part of its work or all.",
        costs="Nothing but the call; what the tool asks of models is on its own account.",
        errors=(
            (Errno.ENOENT, "no such tool, or it has no such method; the message lists what there is."),
            (Errno.ETIME, "it did not answer in timeout_s; its work may have been done."),
            (Errno.EAGAIN, "its worker did not come up in time; nothing was done."),
            (Errno.EUNKNOWN, "its worker died under the call: what it did is not known."),
            (Errno.EIO, "the tool failed, or workers of it died at the start."),
            (Errno.EINVAL, "timeout_s is negative, or the tool refused the arguments."),
        ),
    ),
)

ROWS = (LIST, CALL)
