"""A worker's first moments: from the fork to its entry, one layer after another.

Runs in a fork of the zygote, so everything here must already be imported. It reports every layer's failure
as data and exits; it never returns into the zygote's loop.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

import msgspec

from sandbox import confine, init, jail, libc, rooting
from sandbox.limits import BINDS_MAX, GIVEN_MAX, MESSAGE_BYTES_MAX
from sandbox.messages import Confined, Deliver, Failed, Hatched, Help, ToChild
from sandbox.spec import Bind, CommandSpec, Spec, WorkerSpec, plan_binds

SOCK_FD: Final = 3
"""Where a guest finds its socket; 0 reads nothing, 1 and 2 are its output, nothing else is open but what it was
given: that begins at GIVEN_FD."""

GIVEN_FD: Final = 6

_STATUS_FD: Final = 4
_CORE_BYTES: Final = 1
_HELP_FD: Final = 5
_AWAY_FD: Final = 64
_SETUP_FAILED: Final = 125
_HOSTNAME: Final = b"kernos"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_spec: Final = msgspec.msgpack.Decoder(Spec).decode
_decode_help: Final = msgspec.msgpack.Decoder(ToChild).decode
_HATCHED: Final = _encode(Hatched())


class _Step(Exception):
    """A layer failed, and which."""

    def __init__(self, layer: str, cause: BaseException) -> None:
        super().__init__(layer)
        self.layer = layer
        self.cause = cause


class _Orphaned(Exception):
    """The zygote hung up before it had helped: it died, or has said itself what went wrong."""


class Cradle(msgspec.Struct, frozen=True, kw_only=True):
    """What a newborn child has from its zygote: descriptors, the binds all share, the filters, what it goes without,
    and whether it is to be a command, whose root has nothing in common with those of workers."""

    control: int
    helped: int
    binds: tuple[Bind, ...]
    filters: Mapping[str, bytes]
    without: tuple[str, ...]
    command: bool = False


def live(cradle: Cradle) -> NoReturn:
    """Confines this process and runs its entry. Call it in the child, right after the fork.

    What all workers have in common it does at once; then it waits until there is a worker for it to be.
    """
    code = _SETUP_FAILED
    try:
        os.write(cradle.control, _HATCHED)
        spec, opened = _confine(cradle)
        if isinstance(spec, CommandSpec):
            assert opened is not None, "it was confined"
            init.run(spec, SOCK_FD, opened)
        code = _enter(spec)
    except SystemExit as leaving:
        code = _status_of(leaving)
    except _Orphaned:
        pass
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _confine(cradle: Cradle) -> tuple[Spec, init.Opened | None]:
    if cradle.helped != _HELP_FD:  # which dup3 would refuse
        os.dup2(cradle.helped, _HELP_FD, inheritable=False)
    libc.close_from(_HELP_FD + 1)
    os.closerange(SOCK_FD, _HELP_FD)
    layers = _Layers(cradle.without)
    early: _Step | None = None
    opened: init.Opened | None = None
    helped = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=_HELP_FD)
    try:
        _put_up_common(cradle, layers, helped)
    except _Step as step:
        early = step  # told to whoever asks for a worker
    deliver, own = _be_delivered(helped)
    helped.detach()  # closed at the very end: then the zygote knows that this worker is made
    try:
        if early is not None:
            raise early
        spec: Spec = _decode_spec(os.read(_STATUS_FD, MESSAGE_BYTES_MAX))
        trees, first = own if deliver.taken else None, GIVEN_FD + deliver.given
        shown: list[int] = []
        if isinstance(spec, CommandSpec):
            opened = _put_up_command(cradle, spec, layers, trees, first)
        else:
            _put_up_own(cradle, spec, layers, trees, first, shown)
        _say_confined(Confined(layers.costs), shown)
    except _Step as step:
        _give_up(step.layer, step.cause)
    except BaseException as error:
        _give_up("setup", error)
    os.closerange(_STATUS_FD, _HELP_FD + 1)
    return spec, opened


class _Layers:
    """Puts up one layer after another, but for those left out, and keeps what each took, in microseconds."""

    def __init__(self, without: tuple[str, ...]) -> None:
        self._without = without
        self.costs: dict[str, int] = {}

    def put_up(self, layer: str, step: Callable[[], None]) -> None:
        """One layer, or a part of it. Raises _Step with the reason."""
        if layer in self._without:
            return
        began = time.perf_counter_ns()
        try:
            step()
        except _Orphaned:
            raise
        except BaseException as error:
            raise _Step(layer, error) from error
        self.costs[layer] = self.costs.get(layer, 0) + (time.perf_counter_ns() - began) // 1000


def _put_up_common(cradle: Cradle, layers: _Layers, helped: socket.socket) -> None:
    trees: list[int] = []
    layers.put_up("uid", lambda: trees.extend(_take_help(cradle.binds, helped)))
    layers.put_up("uts", _take_name)
    if not cradle.command:
        layers.put_up("root", lambda: jail.begin_root(cradle.binds, trees))
    layers.put_up("capabilities", confine.bound_capabilities)


def _put_up_own(
    cradle: Cradle, spec: WorkerSpec, layers: _Layers, trees: list[int] | None, first: int, shown: list[int]
) -> None:
    """The rest; `shown` takes what a supervisor of the tier `files` needs: see Confined."""
    mediated, program = spec.tier == "files", cradle.filters[spec.tier]
    binds = plan_binds(cradle.binds, spec.binds)
    layers.put_up("root", lambda: jail.finish_root(*_own(binds, cradle.binds, spec.binds, trees)))
    layers.put_up("fds", lambda: libc.close_from(first))
    layers.put_up("capabilities", confine.drop_capabilities)
    layers.put_up("privileges", confine.forbid_privileges)
    layers.put_up("limits", lambda: confine.set_limits(spec.limits, core_bytes=_CORE_BYTES if mediated else 0))
    layers.put_up("death", confine.die_with_parent)
    layers.put_up("landlock", lambda: confine.restrict_files(binds))
    if mediated:
        layers.put_up("seccomp", lambda: shown.extend(_restrict(program)))
    else:
        layers.put_up("seccomp", lambda: confine.restrict_calls(program))


def _put_up_command(
    cradle: Cradle, spec: CommandSpec, layers: _Layers, trees: list[int] | None, first: int
) -> init.Opened:
    opened: list[init.Opened] = []
    layers.put_up("root", lambda: rooting.build(spec, rooting.take_trees(spec.mounts) if trees is None else trees))
    layers.put_up("fds", lambda: libc.close_from(first))
    layers.put_up("net", lambda: opened.append(init.Opened(spec.terminal)))
    layers.put_up("capabilities", confine.drop_capabilities)
    layers.put_up("privileges", confine.forbid_privileges)
    layers.put_up("limits", lambda: confine.set_limits(spec.limits))
    layers.put_up("death", confine.die_with_parent)
    layers.put_up("landlock", lambda: confine.restrict_command(spec.mounts))
    layers.put_up("seccomp", lambda: confine.restrict_calls(cradle.filters["command"]))
    return opened[0]


def _own(
    planned: tuple[Bind, ...], common: tuple[Bind, ...], own: tuple[Bind, ...], trees: list[int] | None
) -> tuple[tuple[Bind, ...], list[int]]:
    """The binds that are still to be made, and their trees, taken here if the zygote could not."""
    binds = tuple(bind for bind in planned if bind not in common)
    if trees is None:
        return binds, [jail.take_tree(bind.source) for bind in binds]
    by_bind = dict(zip(own, trees, strict=True))
    return binds, [by_bind[bind] for bind in binds]


def _restrict(program: bytes) -> tuple[int, int]:
    """The filter, with what its supervisor needs: where to answer, and the root of this jail."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    confine.be_readable()
    return confine.restrict_and_listen(program), root


def _say_confined(message: Confined, given: list[int]) -> None:
    if not given:
        os.write(_STATUS_FD, _encode(message))
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=os.dup(_STATUS_FD)) as status:
        socket.send_fds(status, [_encode(message)], given)
    for fd in given:  # above all the one on which calls are answered: whoever holds it answers its own
        os.close(fd)


def _take_name() -> None:
    """A host name of its own. What the zygote's imports asked for (uuid does) is kept by `platform` and would tell
    every guest the host's."""
    libc.set_hostname(_HOSTNAME)
    asked = sys.modules.get("platform")
    if asked is not None:
        asked._uname_cache = None  # type: ignore[attr-defined]


def _take_help(binds: tuple[Bind, ...], helped: socket.socket) -> list[int]:
    """Waits until the zygote has written the id maps, becomes that id, and has a tree for each common bind."""
    message, trees = _next(helped)
    confine.take_identity()
    return trees if message.taken else [jail.take_tree(bind.source) for bind in binds]


def _be_delivered(helped: socket.socket) -> tuple[Deliver, list[int]]:
    """Waits until there is a worker to be, puts its output, socket and status into their places (0 stays as it is),
    and has the trees of its own binds."""
    message, fds = _next(helped)
    assert isinstance(message, Deliver), "help comes once"
    status, sock, output, *rest = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _AWAY_FD) for fd in fds)
    # Out of the way first: one of them may sit where another has to go.
    for fd in fds:
        os.close(fd)
    given = enumerate(rest[: message.given], start=GIVEN_FD)
    for place, fd in ((1, output), (2, output), (SOCK_FD, sock), (_STATUS_FD, status), *given):
        os.dup2(fd, place, inheritable=False)
    return message, rest[message.given :]


def _next(helped: socket.socket) -> tuple[Help | Deliver, list[int]]:
    data, fds, _, _ = socket.recv_fds(helped, MESSAGE_BYTES_MAX, 3 + GIVEN_MAX + BINDS_MAX)
    if not data:
        raise _Orphaned("the zygote is gone")
    return _decode_help(data), fds


def _enter(spec: WorkerSpec) -> int:
    module, _, name = spec.entry.partition(":")
    gc.enable()
    sys.dont_write_bytecode = True
    sys.argv = [spec.entry]
    entry = getattr(importlib.import_module(module), name)
    return int(entry(SOCK_FD, spec.payload) or 0)


def _give_up(layer: str, cause: BaseException) -> NoReturn:
    try:
        os.write(_STATUS_FD, _encode(Failed(layer, str(cause) or type(cause).__name__)))
    except OSError:  # nobody waits for this worker any more
        pass
    os._exit(_SETUP_FAILED)


def _status_of(leaving: SystemExit) -> int:
    if leaving.code is None or isinstance(leaving.code, int):
        return (leaving.code or 0) & 0xFF
    print(leaving.code, file=sys.stderr)
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads any more, or the program closed it
            pass
