"""What a hostile guest tries: one function an action, each returning a value that only success can give.

Runs in a jail (`main`) and, to show that the action works at all on this machine, as a plain program
(`python hostile.py '{"action": ..., ...}'`). Needs the standard library only.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _raw(number: int, *args: int | bytes | None) -> int:
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def read_file(path: str) -> str:
    with open(path) as file:
        return file.read()


def list_folder(path: str) -> list[str]:
    return sorted(os.listdir(path))


def write_file(path: str) -> str:
    with open(path, "w") as file:
        file.write("written")
    return read_file(path)


def remove_file(path: str) -> bool:
    os.remove(path)
    return not os.path.exists(path)


def change_mode(path: str) -> int:
    os.chmod(path, 0o640)
    return os.stat(path).st_mode & 0o777


def connect_tcp(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        return sock.recv(100).decode()


def connect_unix(address: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        return sock.recv(100).decode()


def send_udp(port: int, text: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return sock.sendto(text.encode(), ("127.0.0.1", port))


def datagram_pair() -> int:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        return left.send(b"x")


def signal_process(pid: int, number: int) -> bool:
    os.kill(pid, number)
    return True


def signal_everybody() -> bool:
    os.kill(-1, 0)
    return True


def execute(python: str, text: str) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.execv(python, [python, "-I", "-S", "-c", f"print({text!r}, end='')"])
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        return file.read()


def fork() -> int:
    child = os.fork()
    if child == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trace_me() -> int:
    return _raw({"x86_64": 101}.get(platform.machine(), 117), 0, 0, 0, 0)


def unshare(flags: int) -> int:
    if _libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return 0


def mount_tmpfs(path: str) -> bool:
    if _libc.mount(b"none", path.encode(), b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    mounted = os.path.ismount(path)
    _libc.umount2(path.encode(), 2)
    return mounted


def change_root(path: str) -> list[str]:
    os.chroot(path)
    return os.listdir("/")


def memory_file() -> int:
    return os.memfd_create("x")


def raise_privileges() -> int:
    os.setresuid(12345, 12345, 12345)
    return os.getuid()


def outlive_parent() -> int:
    if _libc.prctl(1, 0, 0, 0, 0) != 0:  # PR_SET_PDEATHSIG, none
        raise OSError(ctypes.get_errno(), "prctl")
    return 0


def raise_limit() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return resource.getrlimit(resource.RLIMIT_CORE)[0]


def raise_limit_again() -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def open_many() -> int:
    """One more than the highest descriptor that could be had."""
    kept = []
    try:
        while True:
            kept.append(os.dup(0))
    except OSError:
        return max(kept) + 1
    finally:
        for fd in kept:
            os.close(fd)


def make_thread() -> int:
    import threading

    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(41))
    thread.start()
    thread.join()
    return seen[0] + 1


def temporary_file() -> str:
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("kept")
        file.seek(0)
        return file.read()


def system_call(number: int, arguments: list[int]) -> str:
    """Whether the system looked at the call at all: anything but EPERM and ENOSYS says it did."""
    try:
        _raw(number, *arguments)
    except OSError as error:
        if error.errno in (1, 38):
            raise
    return "looked at"


def enter_i386() -> int:
    """getpid by int 0x80: on x86-64 that is the i386 table, which a filter of x86-64 numbers cannot judge."""
    code = bytes.fromhex("b814000000cd80c3")  # mov eax, 20; int 0x80; ret
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


def descriptors() -> list[int]:
    found = []
    for fd in range(1024):
        try:
            os.fstat(fd)
        except OSError:
            continue
        found.append(fd)
    return found


def identity() -> dict[str, Any]:
    return {
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": os.getgroups(),
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "host": os.uname().nodename,
        "environment": dict(os.environ),
        "cwd": os.getcwd(),
        "path": sys.path,
        "argv": sys.argv,
        "hash": hash("kernos"),
    }


def loaded_modules() -> list[str]:
    return sorted(sys.modules)


def random_numbers() -> list[int]:
    import random

    return [random.getrandbits(64) for _ in range(2)]


def lazy_imports() -> list[str]:
    import decimal
    import email.message
    import hashlib
    import sqlite3
    import zlib

    message = email.message.EmailMessage()
    message.set_content("hello")
    return [
        str(decimal.Decimal("0.1") + decimal.Decimal("0.2")),
        message.get_content_type(),
        hashlib.sha256(b"x").hexdigest()[:8],
        zlib.decompress(zlib.compress(b"round")).decode(),
        sqlite3.connect(":memory:").execute("select 1 + 1").fetchone()[0],
    ]


ACTIONS: dict[str, Callable[..., Any]] = {
    name: value for name, value in list(globals().items()) if callable(value) and not name.startswith("_")
}


def attempt(action: str, **arguments: Any) -> dict[str, Any]:
    """{"value": ...} if it worked, else {"errno": ..., "error": ...}."""
    try:
        return {"value": ACTIONS[action](**arguments)}
    except OSError as error:
        return {"errno": error.errno, "error": f"{type(error).__name__}: {error}"}
    except Exception as error:
        return {"errno": 0, "error": f"{type(error).__name__}: {error}"}


def main(sock_fd: int, payload: bytes) -> int:
    """Serves attempts, one JSON line each, until the host hangs up."""
    with socket.socket(fileno=sock_fd) as sock, sock.makefile("rw") as lines:
        if payload:
            lines.write(json.dumps({"payload": payload.decode()}) + "\n")
            lines.flush()
        for line in lines:
            lines.write(json.dumps(attempt(**json.loads(line))) + "\n")
            lines.flush()
    return 0


def enter_i386_as_guest(sock_fd: int, payload: bytes) -> int:
    return enter_i386() and 0


def linger(sock_fd: int, payload: bytes) -> int:
    """Does not care whether anybody is at the other end."""
    while True:
        time.sleep(1)


def spin(sock_fd: int, payload: bytes) -> int:
    while True:
        pass


def eat_memory(sock_fd: int, payload: bytes) -> int:
    kept = []
    try:
        while True:
            kept.append(bytearray(16 * 1024 * 1024))
    except MemoryError:
        eaten = len(kept)
        kept.clear()
        return eaten


def abort(sock_fd: int, payload: bytes) -> int:
    os.abort()


def raise_error(sock_fd: int, payload: bytes) -> int:
    os.write(1, b"to descriptor 1\n")
    print("to stdout")
    raise LookupError("a bug in the program")


def leave(sock_fd: int, payload: bytes) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return int(payload)


if __name__ == "__main__":
    print(json.dumps(attempt(**json.loads(sys.argv[1]))))
