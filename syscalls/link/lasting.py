"""A blocking socket that outlives its connections: what a blocking link runs on where its kernel is elsewhere."""

import random
import ssl
import time
from typing import final

from syscalls.errors import BrokenPipe, SyscallError, farewell
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.tls import Remote, client_context, dial, lasting, refusal
from syscalls.session import PAUSE_S_MAX, PAUSE_S_MIN, SessionEnd, greeting, lease_of
from syscalls.wire import HEADER_BYTES, Bye, Hello, WireError, decode, encode


@final
class LastingSocket:
    """The three methods of a socket that a blocking link uses; while the kernel keeps the session, a lost connection
    only takes time. Raises SyscallError: EPIPE when the lease is over, and what the kernel refuses."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._context = client_context(remote)
        self._end = SessionEnd(CLIENT_LIMITS.frame_bytes_max)
        self._session = b""
        self._lease_s = 0.0
        self._fresh = b""
        try:
            self._sock = self._greet()
        except (OSError, WireError, SyscallError) as failed:
            raise refusal(remote, failed) from None

    def recv(self, bytes_max: int, /) -> bytes:
        """What the peer above has not seen yet. Never empty."""
        while not self._fresh:
            try:
                data = self._sock.recv(bytes_max)
            except OSError:
                data = b""
            if data:
                self._take(data)
            else:
                self._again()
            self.sendall(b"")
        fresh, self._fresh = self._fresh, b""
        return fresh

    def sendall(self, data: bytes | bytearray, /) -> None:
        """Sends whole frames; those that a lost connection took along are sent again."""
        self._end.put(bytes(data))
        while self._end.outbox:
            outbox = bytes(self._end.outbox)
            self._end.outbox.clear()
            try:
                self._sock.sendall(outbox)
            except OSError:
                if not self._heard_last():
                    self._again()

    def shutdown(self, how: int, /) -> None:
        """Gives up the connection: whoever waits in another thread is woken, and finds the session gone."""
        self._lease_s = 0.0
        try:
            self._sock.shutdown(how)
        except OSError:
            pass

    def close(self) -> None:
        self._sock.close()

    def _heard_last(self) -> bool:
        """Whether what came before the connection broke ends with BYE: then there is nothing to come back to."""
        self._sock.settimeout(0)
        try:
            while data := self._sock.recv(CLIENT_LIMITS.frame_bytes_max):
                self._take(data)
        except OSError:
            pass
        return self._end.parted

    def _take(self, data: bytes) -> None:
        try:
            self._fresh += self._end.feed(data)
        except WireError as breach:
            raise BrokenPipe(str(breach)) from None

    def _again(self) -> None:
        """The connection is gone: makes another, for as long as the kernel keeps the session."""
        self._sock.close()
        self._end.lose()
        until = time.monotonic() + self._lease_s
        pause_s = PAUSE_S_MIN
        while True:
            try:
                self._sock = self._greet()
                return
            except (OSError, WireError, SyscallError) as failed:
                said = refusal(self._remote, failed)
                if lasting(failed):
                    raise said from None
            if time.monotonic() + pause_s > until:
                raise BrokenPipe(f"the connection is lost and does not come back: {said.message}")
            time.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    def _greet(self) -> ssl.SSLSocket:
        sock = dial(self._remote, self._context)
        try:
            hello = greeting(Hello(credential=self._remote.credential), self._session, self._end.received)
            sock.sendall(encode(hello))
            self._welcome(sock)
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise
        return sock

    def _welcome(self, sock: ssl.SSLSocket) -> None:
        size = int.from_bytes(_exactly(sock, HEADER_BYTES), "big")
        if size > CLIENT_LIMITS.frame_bytes_max:
            raise WireError(f"a frame of {size} bytes instead of HELLO")
        frame = decode(_exactly(sock, size))
        if isinstance(frame, Bye):
            raise farewell(frame.reason)
        if not isinstance(frame, Hello):
            raise WireError(f"{type(frame).__name__.upper()} before HELLO")
        self._lease_s = lease_of(frame, str(self._remote))
        self._end.resume(frame.received)
        if not self._session:
            self._session = frame.session
            self._fresh = encode(frame)


def _exactly(sock: ssl.SSLSocket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        data = sock.recv(size - len(got))
        if not data:
            raise ConnectionError("the other end closed the connection before it said HELLO")
        got += data
    return bytes(got)
