"""The zygote: a single-threaded interpreter with its imports done, which forks workers when asked.

It runs no loop but this one, holds no secret, and never sees what a worker is told. It answers what goes
wrong as data; a request that it cannot make sense of ends it, and the host starts another.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
from typing import Final

import msgspec

from sandbox import guest, jail, libc
from sandbox.limits import BINDS_MAX, MESSAGE_BYTES_MAX
from sandbox.messages import Bear, Begin, Born, Failed, Help, Ready, Status, ToZygote
from sandbox.spec import Bind

_REQUEST_FDS: Final = 3
_FDS_MAX: Final = _REQUEST_FDS + BINDS_MAX

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ToZygote).decode

# System libraries that extension modules of the standard library and common wheels link to. They lie
# outside every jail, but what is loaded here is found there by its name.
_LIBRARIES: Final = (
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libz.so.1",
    "libbz2.so.1.0",
    "liblzma.so.5",
    "libcrypto.so.3",
    "libssl.so.3",
    "libffi.so.8",
    "libmpdec.so.3",
    "libcrypt.so.1",
    "libuuid.so.1",
    "libsqlite3.so.0",
    "libexpat.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
)


def main(control_fd: int) -> None:
    """Serves on the control socket until the host closes it. Called by the bootstrap in `sandbox.zygote`."""
    control = socket.socket(fileno=control_fd)
    libc.close_from(control_fd + 1)
    begin = _decode(control.recv(MESSAGE_BYTES_MAX))
    if not isinstance(begin, Begin):
        raise TypeError(f"the first message to a zygote is Begin, not {type(begin).__name__}")
    try:
        zygote = _prepare(control, begin)
    except BaseException as error:
        control.send(_encode(Failed("zygote", f"{type(error).__name__}: {error}")))
        raise
    os.dup2(1, 2)  # nobody reads the error pipe from here on
    control.send(_encode(Ready(os.getpid(), zygote.privileged)))
    while zygote.serve_one():
        pass


def _prepare(control: socket.socket, begin: Begin) -> _Zygote:
    _die_with_host(begin.host_pid)
    sys.path[:] = begin.spec.path
    _load_libraries()
    for name in begin.spec.preload:
        importlib.import_module(name)
    if os.geteuid() == 0:
        os.setgroups([])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    zygote = _Zygote(control, begin)
    gc.disable()
    gc.collect()
    gc.freeze()
    return zygote


def _die_with_host(host_pid: int) -> None:
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host_pid:
        raise ConnectionResetError("the kernel died while its zygote started")


def _load_libraries() -> None:
    import ctypes

    for name in _LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:  # not on this machine, so nothing here links to it
            continue


class _Zygote:
    """The serving loop and what it holds: the control socket, the common binds, the filters."""

    def __init__(self, control: socket.socket, begin: Begin) -> None:
        self._control = control
        self._spec = begin.spec
        self._filters = begin.filters
        self._binds = tuple(sorted(begin.spec.binds, key=lambda bind: bind.target))
        self.privileged = os.geteuid() == 0 and _may_take_trees(self._binds)

    def serve_one(self) -> bool:
        """Makes one worker; False when the host has closed the control socket."""
        data, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, _FDS_MAX)
        if not data:
            return False
        try:
            request = _decode(data)
            if not isinstance(request, Bear):
                raise TypeError(f"a zygote that serves is asked to Bear, not to {type(request).__name__}")
            self._bear(request, fds)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _bear(self, request: Bear, fds: list[int]) -> None:
        status, sock, output, *sources = fds
        helper, helped = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with helper, helped:
            try:
                pid = libc.clone(jail.clone_flags(request.without))
            except OSError as error:
                _say(status, Failed("clone", str(error)))
                return
            if pid == 0:
                guest.live(self._cradle(status=status, sock=sock, output=output, helped=helped.fileno()))
            helped.close()
            _say(status, Born(pid))
            layer = "uid"
            try:
                self._map_ids(pid)
                layer = "root"
                self._give_trees(pid, helper, sources)
            except OSError as error:
                _say(status, Failed(layer, str(error)))

    def _cradle(self, *, status: int, sock: int, output: int, helped: int) -> guest.Cradle:
        return guest.Cradle(
            status=status, sock=sock, output=output, helped=helped, binds=self._binds, filters=self._filters
        )

    def _map_ids(self, pid: int) -> None:
        uid, gid = (self._spec.uid_base + pid,) * 2 if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        jail.map_ids(pid, uid=uid, gid=gid)

    def _give_trees(self, pid: int, helper: socket.socket, sources: list[int]) -> None:
        """Hands `pid` its mounts, where it takes privilege to take them, and lets it go on.

        The worker waits for it, so just before is where it would be put into a control group.
        """
        trees = self._take_trees(pid, sources) if self.privileged else []
        try:
            socket.send_fds(helper, [_encode(Help(taken=self.privileged))], trees)
        finally:
            for tree in trees:
                os.close(tree)

    def _take_trees(self, pid: int, sources: list[int]) -> list[int]:
        trees: list[int] = []
        user_namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            common: list[int | str] = [bind.source for bind in self._binds]
            for source in (*common, *sources):
                trees.append(jail.take_tree(source, user_namespace))
        except OSError:
            for tree in trees:
                os.close(tree)
            raise
        finally:
            os.close(user_namespace)
        return trees


def _may_take_trees(binds: tuple[Bind, ...]) -> bool:
    try:
        os.close(jail.take_tree(binds[0].source if binds else "/"))
    except PermissionError:
        return False
    return True


def _say(status: int, message: Status) -> None:
    try:
        os.write(status, _encode(message))
    except OSError:  # the host no longer waits for this worker
        pass
