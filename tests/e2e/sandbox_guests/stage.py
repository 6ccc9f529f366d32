"""Things on the host that a guest must not reach: a secret, listeners, a process that counts signals."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType


class Stage:
    """One stage: folders `inside` (bound for the guest) and `outside`, and listeners that give the nonce away."""

    def __init__(self, folder: Path) -> None:
        self.nonce = secrets.token_hex(16)
        self.inside = folder / "inside"
        self.outside = folder / "outside"
        self.signals = 0
        for made in (self.inside, self.outside):
            made.mkdir()
        self.secret = self.outside / "secret"
        self.secret.write_text(self.nonce)
        (self.inside / "mine").write_text("mine")
        (self.inside / "spare").write_text("spare")
        (self.inside / "link").symlink_to(self.secret)
        self.path_socket = str(self.inside / "sock")
        self.abstract_socket = f"@kernos-{secrets.token_hex(8)}"
        self.tcp_port = 0
        self.udp_port = 0

    def count_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """A stage whose listeners answer from threads, so that a blocking attempt is answered as well."""
    stage = Stage(folder)
    with ExitStack() as opened:
        tcp = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        by_path = opened.enter_context(socket.socket(socket.AF_UNIX))
        by_path.bind(stage.path_socket)
        os.chmod(stage.path_socket, 0o777)
        abstract = opened.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind("\0" + stage.abstract_socket[1:])
        stage.tcp_port, stage.udp_port = tcp.getsockname()[1], udp.getsockname()[1]
        for listener in (tcp, by_path, abstract):
            listener.listen()
            opened.enter_context(_answering(listener, stage.nonce))
        previous = signal.signal(signal.SIGUSR1, stage.count_signal)
        opened.callback(signal.signal, signal.SIGUSR1, previous)
        yield stage


@contextmanager
def _answering(listener: socket.socket, nonce: str) -> Iterator[None]:
    def answer() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.sendall(nonce.encode())

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        thread.join()


def python_outside() -> str:
    """An interpreter by its real path."""
    return os.path.realpath(sys.executable)
