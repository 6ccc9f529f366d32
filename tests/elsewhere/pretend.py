"""Runs a module of ours as if on a Mac: `python -m tests.elsewhere.pretend MODULE ARGUMENTS…`.

What the libraries need is imported first, as they are on this system. Then the platform is another one, and what only
Linux has is gone: calls of os, socket and signal, prctl and syscall of the C library, /proc. The peer of a socket is
told as Darwin tells it.
"""

import builtins
import ctypes
import io
import os
import runpy
import signal
import socket
import struct
import sys
import sysconfig
from pathlib import Path
from typing import Any

import anyio
import trio

ONLY_LINUX = {
    os: ("memfd_create", "pidfd_open", "sched_setscheduler", "sched_yield", "SCHED_IDLE", "O_PATH", "setresuid",
         "unshare", "setns", "eventfd", "getrandom", "waitid", "pipe2"),
    socket: ("SO_PEERCRED", "SCM_CREDENTIALS", "SO_PASSCRED", "AF_NETLINK", "AF_VSOCK"),
    signal: ("pidfd_send_signal",),
}  # fmt: skip
_CREDENTIALS = struct.Struct("3i")


class NoSuchCall(AttributeError):
    """As ctypes says it of a name that a library does not have."""


def _without(library: Any) -> Any:
    class Library(library):  # type: ignore[misc]
        def __getattr__(self, name: str) -> Any:
            if name in ("prctl", "syscall", "capset", "clone", "sethostname", "umount2", "mount"):
                raise NoSuchCall(f"symbol not found: {name}")
            return super().__getattr__(name)

    return Library


def _told_as_darwin(peer: Any) -> Any:
    def getsockopt(self: socket.socket, level: int, option: int, size: int = 0) -> Any:
        if level != 0:
            return peer(self, level, option, size) if size else peer(self, level, option)
        pid, uid, gid = _CREDENTIALS.unpack(peer(self, 1, 17, _CREDENTIALS.size))
        if option == 2:
            if _has_gone(self):
                raise OSError(57, "Socket is not connected")
            return struct.pack("=i", pid)
        return struct.pack("=IIhxx16I", 0, uid, 1, gid, *[0] * 15)

    return getsockopt


def _has_gone(sock: socket.socket) -> bool:
    """Whether the other end has closed: there LOCAL_PEERPID has nobody to tell of then."""
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _no_proc(open_: Any) -> Any:
    def refuse(file: Any, *args: Any, **options: Any) -> Any:
        if isinstance(file, str | Path) and str(file).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", str(file))
        return open_(file, *args, **options)

    return refuse


def pretend() -> None:
    """From now on this process takes itself for one on a Mac."""
    assert anyio and trio, "these are as on the system below"
    sysconfig.get_config_vars()  # so is what it knows of the interpreter
    for module, names in ONLY_LINUX.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    ctypes.CDLL = _without(ctypes.CDLL)  # type: ignore[misc]
    ctypes.PyDLL = _without(ctypes.PyDLL)  # type: ignore[misc]
    socket.socket.getsockopt = _told_as_darwin(socket.socket.getsockopt)  # type: ignore[method-assign]
    builtins.open = io.open = _no_proc(builtins.open)
    sys.platform = "darwin"


if __name__ == "__main__":
    pretend()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
