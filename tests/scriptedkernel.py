"""A kernel's front door, for tests of clients: a real peer on a unix socket, in a thread, that answers by a script."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from msgspec import Raw

from syscalls.codec import pack, parse_args
from syscalls.errors import NoSyscall, SyscallError
from syscalls.limits import CLIENT_LIMITS
from syscalls.peer import Peer
from syscalls.table import TABLE
from syscalls.wire import Call, Hello

Answer = Callable[[Any], Any]


@final
class Streamed:
    """A scripted answer that streams: items, then the result."""

    def __init__(self, items: list[Any], result: Any) -> None:
        self.items = items
        self.result = result


@final
class ScriptedKernel:
    """Answers from `script`, a function of the arguments by the call's name; remembers every call.

    A function returns a result or a Streamed, or raises a SyscallError; it may wait, each connection has a thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.script: dict[str, Answer] = {}
        self.calls: list[tuple[str, Any]] = []
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def named(self, name: str) -> list[Any]:
        """The arguments of all calls of that name so far."""
        return [args for called, args in self.calls if called == name]

    def close(self) -> None:
        """Ends every connection and thread; the listener first, so that no connection comes after."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,), daemon=True))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        peer = Peer(CLIENT_LIMITS, Hello())
        with sock:
            try:
                while peer.closed is None:
                    sock.sendall(_taken(peer))
                    data = sock.recv(65536)
                    if not data:
                        return
                    for frame in peer.receive(data):
                        if isinstance(frame, Call):
                            self._answer(peer, frame)
            except OSError:
                pass

    def _answer(self, peer: Peer, call: Call) -> None:
        assert isinstance(call.number, int)
        row = TABLE[call.number]
        args = parse_args(row, call.args)
        self.calls.append((row.name, args))
        try:
            if row.name not in self.script:
                raise NoSyscall(f"{row.name} is not in this test's script")
            answer = self.script[row.name](args)
        except SyscallError as refused:
            peer.error(call.id, refused.errno, refused.message)
            return
        if isinstance(answer, Streamed):
            peer.items(call.id, [Raw(pack(item)) for item in answer.items])
            peer.end(call.id, pack(answer.result))
        else:
            peer.reply(call.id, pack(answer))


@contextmanager
def scripted_kernel(path: Path, **script: Answer) -> Iterator[ScriptedKernel]:
    """A kernel at `path`; script names are written `process__list`."""
    kernel = ScriptedKernel(path)
    kernel.script.update({name.replace("__", "."): answer for name, answer in script.items()})
    try:
        yield kernel
    finally:
        kernel.close()


def _taken(peer: Peer) -> bytes:
    data, peer.outbox = bytes(peer.outbox), bytearray()
    return data
