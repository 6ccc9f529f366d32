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

from sandbox import confine, jail, libc
from sandbox.limits import BINDS_MAX, MESSAGE_BYTES_MAX
from sandbox.messages import ORPHANED, Confined, Failed, Help, Status
from sandbox.spec import Bind, WorkerSpec, plan_binds

SOCK_FD: Final = 3
"""Where a guest finds its socket; 0 reads nothing, 1 and 2 are its output, nothing else is open."""

_STATUS_FD: Final = 4
_CORE_BYTES: Final = 1
_HELP_FD: Final = 5
_AWAY_FD: Final = 64
_SETUP_FAILED: Final = 125
_HOSTNAME: Final = b"kernos"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_spec: Final = msgspec.msgpack.Decoder(WorkerSpec).decode
_decode_help: Final = msgspec.msgpack.Decoder(Help).decode


class _Step(Exception):
    """A layer failed, and which."""

    def __init__(self, layer: str, cause: BaseException) -> None:
        super().__init__(layer)
        self.layer = layer
        self.cause = cause


class _Orphaned(Exception):
    """The zygote hung up before it had helped: it died, or has said itself what went wrong."""


class Cradle(msgspec.Struct, frozen=True, kw_only=True):
    """What a newborn worker gets from its zygote: descriptors, the binds all share, the filters."""

    status: int
    sock: int
    output: int
    helped: int
    binds: tuple[Bind, ...]
    filters: Mapping[str, bytes]


def live(cradle: Cradle) -> NoReturn:
    """Confines this process and runs its entry. Call it in the child, right after the fork."""
    code = _SETUP_FAILED
    try:
        code = _enter(_confine(cradle))
    except SystemExit as leaving:
        code = _status_of(leaving)
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _confine(cradle: Cradle) -> WorkerSpec:
    status = cradle.status
    try:
        _lay_out_descriptors(cradle)
        status = _STATUS_FD
        spec = _decode_spec(os.read(status, MESSAGE_BYTES_MAX))
        given: list[int] = []
        _send(status, Confined(_put_up(cradle, spec, given)), given)
        for fd in given:  # above all the one on which calls are answered: whoever holds it answers its own
            os.close(fd)
    except _Step as step:
        _give_up(status, step.layer, step.cause)
    except BaseException as error:
        _give_up(status, "setup", error)
    os.close(_STATUS_FD)
    return spec


def _put_up(cradle: Cradle, spec: WorkerSpec, given: list[int]) -> dict[str, int]:
    """Every layer, one after another; `given` takes what a supervisor of the tier `files` needs: see Confined."""
    mediated = spec.tier == "files"
    program = cradle.filters[spec.tier]
    binds = plan_binds(cradle.binds, spec.binds)
    trees: list[int] = []
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("uid", lambda: trees.extend(_take_help(cradle.binds, spec.binds, binds))),
        ("uts", _take_name),
        ("root", lambda: jail.build_root(binds, trees)),
        ("fds", lambda: libc.close_from(_STATUS_FD + 1)),
        ("capabilities", confine.drop_capabilities),
        ("privileges", confine.forbid_privileges),
        ("limits", lambda: confine.set_limits(spec.limits, core_bytes=_CORE_BYTES if mediated else 0)),
        ("death", confine.die_with_parent),
        ("landlock", lambda: confine.restrict_files(binds)),
        ("seccomp", lambda: given.extend(_restrict(program)) if mediated else confine.restrict_calls(program)),
    )
    costs: dict[str, int] = {}
    for layer, step in steps:
        if layer in spec.without:
            continue
        began = time.perf_counter_ns()
        try:
            step()
        except _Orphaned as error:
            raise _Step(ORPHANED, error) from error
        except BaseException as error:
            raise _Step(layer, error) from error
        costs[layer] = (time.perf_counter_ns() - began) // 1000
    return costs


def _restrict(program: bytes) -> tuple[int, int]:
    """The filter, with what its supervisor needs: where to answer, and the root of this jail."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    confine.be_readable()
    return confine.restrict_and_listen(program), root


def _take_name() -> None:
    """A host name of its own. What the zygote's imports asked for (uuid does) is kept by `platform` and would tell
    every guest the host's."""
    libc.set_hostname(_HOSTNAME)
    asked = sys.modules.get("platform")
    if asked is not None:
        asked._uname_cache = None  # type: ignore[attr-defined]


def _lay_out_descriptors(cradle: Cradle) -> None:
    """0 stays as it is; output, socket, status and help go to their places; all else is closed."""
    fds = (cradle.output, cradle.output, cradle.sock, cradle.status, cradle.helped)
    # Out of the way first: one of them may sit where another has to go.
    away = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _AWAY_FD) for fd in fds]
    for place, fd in enumerate(away, start=1):
        os.dup2(fd, place, inheritable=False)
    libc.close_from(_HELP_FD + 1)


def _take_help(common: tuple[Bind, ...], own: tuple[Bind, ...], planned: tuple[Bind, ...]) -> list[int]:
    """Waits until the zygote has written the id maps, becomes that id, and has a tree for each planned bind."""
    with socket.socket(fileno=_HELP_FD) as helped:
        data, trees, _, _ = socket.recv_fds(helped, MESSAGE_BYTES_MAX, 2 * BINDS_MAX)
    if not data:
        raise _Orphaned("the zygote is gone")
    confine.take_identity()
    if not _decode_help(data).taken:
        return [jail.take_tree(bind.source) for bind in planned]
    by_bind = dict(zip((*common, *own), trees, strict=True))
    return [by_bind[bind] for bind in planned]


def _enter(spec: WorkerSpec) -> int:
    module, _, name = spec.entry.partition(":")
    gc.enable()
    sys.dont_write_bytecode = True
    sys.argv = [spec.entry]
    entry = getattr(importlib.import_module(module), name)
    return int(entry(SOCK_FD, spec.payload) or 0)


def _send(status: int, message: Status, fds: list[int]) -> None:
    with socket.socket(fileno=os.dup(status)) as sock:
        socket.send_fds(sock, [_encode(message)], fds)


def _give_up(status: int, layer: str, cause: BaseException) -> NoReturn:
    try:
        os.write(status, _encode(Failed(layer, str(cause) or type(cause).__name__)))
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
