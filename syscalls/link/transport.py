"""What a link runs over: a connected byte stream; the one over a plain socket can also send without waiting."""

import os
import socket
import time
from functools import partial
from typing import Final, Protocol, final, runtime_checkable

from syscalls.link.loop import Loop

_give_up_core: Final = getattr(os, "sched_yield", None) or partial(time.sleep, 0)
"""To whoever is next; not every system has a call for just that."""


class LinkBroken(Exception):
    """The transport failed, in whatever words its loop has for that."""


class Transport(Protocol):
    """A connected byte stream; `receive_some` gives b"" at its end."""

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray: ...
    async def send_all(self, data: bytes, /) -> None: ...


@final
class SocketTransport:
    """A connected socket on any loop.

    `send_now` is why it exists: what is short goes out from where it was made, without waking a task for it; and
    `receive_now`, for what has come meanwhile. To wait, it asks whether there is something to read before it reads,
    for on a link there mostly is not.
    """

    def __init__(self, sock: socket.socket, loop: Loop) -> None:
        sock.setblocking(False)
        self._ahead = b""
        self._sock = sock
        self._loop = loop

    async def receive_some(self, max_bytes: int, /) -> bytes:
        """What has come, at most so much. Raises OSError as recv does."""
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        while True:
            await self._loop.wait_readable(self._sock)
            try:
                return self._sock.recv(max_bytes)
            except BlockingIOError:
                continue

    async def send_all(self, data: bytes, /) -> None:
        """Sends all of it, waiting for room. Raises OSError as send does."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._sock.send(left) :]
            except BlockingIOError:
                await self._loop.wait_writable(self._sock)

    def send_now(self, data: bytes | bytearray, /) -> int:
        """How much of it went out at once; what is wrong with the socket is for `send_all` to find."""
        try:
            return self._sock.send(data)
        except OSError:
            return 0

    def receive_now(self, max_bytes: int, /) -> bytes | None:
        """What is there already, None if that is nothing yet; what is wrong with the socket is for `receive_some`."""
        try:
            return self._sock.recv(max_bytes)
        except OSError:
            return None

    def unread(self, data: bytes) -> None:
        """What was read and not used comes first when it is read from again."""
        self._ahead = data

    def answer_now(self, max_bytes: int, /) -> bytes | None:
        """As `receive_now`, after the core was given up once to whoever was just asked: it costs nothing where both
        ends have a core of their own, and who asks would wait anyway."""
        _give_up_core()
        return self.receive_now(max_bytes)

    def close(self) -> None:
        """Closes the socket; who waits on it is told. Closing twice is the same as once."""
        if self._sock.fileno() >= 0:
            self._loop.notify_closing(self._sock)
            self._sock.close()

    async def aclose(self) -> None:
        """As `close`; never waits."""
        self.close()


@runtime_checkable
class Quick(Protocol):
    """A transport that can also do without waiting what can be done at once."""

    def send_now(self, data: bytes | bytearray, /) -> int: ...
    def receive_now(self, max_bytes: int, /) -> bytes | None: ...
    def answer_now(self, max_bytes: int, /) -> bytes | None: ...
