"""What the hostile programs go for: files, sockets, a process and its memory; all of it gives the nonce away."""

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_VICTIM = """
import ctypes, sys
held = ctypes.create_string_buffer(sys.argv[1].encode())
print(ctypes.addressof(held), flush=True)
sys.stdin.read()
"""


@contextmanager
def open_stage() -> Iterator[dict[str, Any]]:
    """A stage that everybody on the machine may enter: what keeps a program out is its jail and nothing else."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="kernos-escape-")))
        folder.chmod(0o755)
        stage = _files(folder)
        _listeners(stage, opened)
        _queues(stage, opened)
        _victim(stage, opened)
        stage["pid"] = os.getpid()
        yield stage


def renew(stage: dict[str, Any]) -> None:
    """Puts back what an attempt that went through has changed."""
    inside = Path(stage["inside"])
    for name in ("open", "link"):
        if (inside / name).is_symlink():
            (inside / name).unlink()
    (inside / "link").unlink(missing_ok=True)
    (inside / "link").symlink_to(stage["secret"])
    for made in ("made", "moved", "folder", "trap", "second", "fifo"):
        path = inside / made
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    for name in ("open", "spare", "move"):
        (inside / name).write_text("written by the host")
        (inside / name).chmod(0o666)
    for folder in ("/tmp", "/dev/shm"):
        for left in Path(folder).glob(f"kernos-*{stage['nonce']}"):
            left.unlink()


def _files(folder: Path) -> dict[str, Any]:
    stage: dict[str, Any] = {"nonce": secrets.token_hex(16)}
    inside, outside = folder / "inside", folder / "outside"
    inside.mkdir()
    outside.mkdir()
    inside.chmod(0o777)
    outside.chmod(0o755)
    (outside / "secret").write_text(stage["nonce"])
    (outside / "pointer").symlink_to(stage["nonce"])
    shutil.copy("/bin/echo", inside / "tool")
    (inside / "tool").chmod(0o755)
    stage |= {"inside": str(inside), "outside": str(outside), "secret": str(outside / "secret")}
    renew(stage)
    return stage


def _listeners(stage: dict[str, Any], opened: ExitStack) -> None:
    stage["abstract"] = f"kernos-{secrets.token_hex(8)}"
    tcp = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    tcp6 = opened.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
    stage |= {"tcp": tcp.getsockname()[1], "tcp6": tcp6.getsockname()[1]}
    given = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    opened.enter_context(_answering(given, b"given"))
    closed = opened.enter_context(socket.socket())  # bound and not listening: nobody else gets the port
    closed.bind(("127.0.0.1", 0))
    stage |= {"tcp_given": given.getsockname()[1], "tcp_closed": closed.getsockname()[1]}
    listeners = [tcp, tcp6]
    for address in (f"{stage['inside']}/sock", f"{stage['outside']}/sock", "\0" + stage["abstract"]):
        sock = opened.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(address)
        sock.listen()
        if address.startswith("/"):
            os.chmod(address, 0o777)
        listeners.append(sock)
    for listener in listeners:
        opened.enter_context(_answering(listener, stage["nonce"].encode()))
    udp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    stage["udp"] = udp.getsockname()[1]
    opened.enter_context(_echoing(udp, stage["nonce"].encode()))


@contextmanager
def _answering(listener: socket.socket, nonce: bytes) -> Iterator[None]:
    def answer() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.sendall(nonce)
                except OSError:
                    pass

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def _echoing(udp: socket.socket, nonce: bytes) -> Iterator[None]:
    def answer() -> None:
        while True:
            data, peer = udp.recvfrom(100)
            if data == b"end":
                return
            udp.sendto(nonce, peer)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", udp.getsockname())
        thread.join()


def _queues(stage: dict[str, Any], opened: ExitStack) -> None:
    """System V objects under one key, open to everybody."""
    key = secrets.randbelow(1 << 30) + 1
    stage["shm_key"] = key
    stage["shm_id"] = _libc.shmget(key, 4096, _IPC_CREAT | 0o666)
    stage["msg_id"] = _libc.msgget(key, _IPC_CREAT | 0o666)
    stage["sem_id"] = _libc.semget(key, 1, _IPC_CREAT | 0o666)
    opened.callback(_libc.shmctl, stage["shm_id"], _IPC_RMID, None)
    opened.callback(_libc.msgctl, stage["msg_id"], _IPC_RMID, None)
    opened.callback(_libc.semctl, stage["sem_id"], 0, _IPC_RMID)


def _victim(stage: dict[str, Any], opened: ExitStack) -> None:
    """A process of the host that holds the nonce in its memory."""
    command = [sys.executable, "-c", _VICTIM, stage["nonce"]]
    victim = opened.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    assert victim.stdout is not None and victim.stdin is not None
    stage |= {"victim": victim.pid, "address": int(victim.stdout.readline())}
    opened.callback(victim.stdin.close)
