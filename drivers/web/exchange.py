"""One request and its answer on a connection of their own, HTTP/1.1 by h11.

The name is looked up once, every address it has is looked at, and the connection is made to one of those addresses and
to nothing else: a name that resolves otherwise a moment later has no effect. TLS and the Host header still say the
name.
"""

import ssl
from typing import Final, final

import h11
import trio

from drivers.web.addresses import why_private
from drivers.web.decode import Decoder, Plain, decoder_for
from drivers.web.resolve import Resolve, is_number
from syscalls.errors import IOFailed, PermissionDenied, SyscallError, TryAgain
from syscalls.fetching import Began, Begin, Pulled

HEAD_BYTES_MAX: Final = 64 * 1024
CONNECT_S: Final = 10.0
RECEIVE_BYTES: Final = 64 * 1024
INTERIM_MAX: Final = 16
"""Answers of 1xx before the answer."""
ADDRESSES_MAX: Final = 16


@final
class Exchange:
    """Begun once, pulled until it is done, closed in any case."""

    def __init__(self, call: Begin, *, resolve: Resolve, tls: ssl.SSLContext) -> None:
        self._call = call
        self._resolve = resolve
        self._tls = tls
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._stream: trio.abc.Stream | None = None
        self._decoder: Decoder = Plain()
        self._ended = False

    async def begin(self) -> Began:
        """Connects, sends, and waits for the head of the answer. Raises PermissionDenied for a private address,
        NotFound for a name that is nobody's, TryAgain where nobody listens, IOFailed for what goes wrong later."""
        address = await self._connect()
        try:
            await self._send(h11.Request(method=self._call.method, target=self._call.target, headers=self._headers()))
            if self._call.body:
                await self._send(h11.Data(data=self._call.body))
            await self._send(h11.EndOfMessage())
            answer = await self._head()
        except (h11.ProtocolError, trio.BrokenResourceError, ssl.SSLError, OSError) as failed:
            raise self._broken(failed) from None
        headers = tuple((_text(name), _text(value)) for name, value in answer.headers)
        packed = ",".join(value for name, value in headers if name == "content-encoding")
        decoder = decoder_for(packed) if self._call.method != "HEAD" else Plain()
        if decoder is not None:
            self._decoder = decoder
            if packed:
                headers = tuple(each for each in headers if each[0] not in ("content-encoding", "content-length"))
        return Began(status=answer.status_code, headers=headers, address=address)

    async def pull(self, count: int) -> Pulled:
        """Waits until some of the body is there."""
        while True:
            data = self._decoder.take(count)
            if data or self._ended:
                return Pulled(data=data, done=self._ended and not data)
            try:
                event = await self._event()
            except (h11.ProtocolError, trio.BrokenResourceError, ssl.SSLError, OSError) as failed:
                raise self._broken(failed) from None
            if isinstance(event, h11.Data):
                self._decoder.feed(bytes(event.data))
            else:
                self._ended = True
                if not (data := self._decoder.take(count)):
                    self._decoder.finish()
                    return Pulled(data=b"", done=True)
                return Pulled(data=data)

    async def close(self) -> None:
        """At once: nobody is told farewell."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _connect(self) -> str:
        call = self._call
        addresses = (call.host,) if is_number(call.host) else await self._resolve(call.host)
        for address in addresses:
            why = why_private(address)
            if why and not call.private:
                named = f"{call.host} is {address}, which" if address != call.host else address
                raise PermissionDenied(f"{named} is not public ({why})")
        problem = "it has no address"
        for address in addresses[:ADDRESSES_MAX]:
            try:
                with trio.fail_after(CONNECT_S):
                    self._stream = await self._connected(address)
                    return address
            except SyscallError:  # some of them are OSErrors too
                raise
            except (OSError, trio.TooSlowError) as failed:
                problem = str(failed.__class__.__name__ if isinstance(failed, trio.TooSlowError) else failed)
        raise TryAgain(f"nothing answers at {call.authority}: {problem}")

    async def _connected(self, address: str) -> trio.abc.Stream:
        """To this address, which is a number and so is looked up no more."""
        family = trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET
        sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        try:
            await sock.connect((address, self._call.port))
            stream = trio.SocketStream(sock)
        except BaseException:
            sock.close()
            raise
        if self._call.scheme == "http":
            return stream
        secured = trio.SSLStream(stream, self._tls, server_hostname=self._call.host, https_compatible=True)
        try:
            await secured.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError) as failed:
            await trio.aclose_forcefully(stream)
            raise self._broken(failed.__cause__ or failed) from None
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secured

    def _headers(self) -> list[tuple[str, str]]:
        call = self._call
        own = [("Host", call.authority), *call.headers, ("Accept-Encoding", "gzip, deflate"), ("Connection", "close")]
        given = {name.lower() for name, _ in call.headers}
        if "user-agent" not in given:
            own.append(("User-Agent", "kernos"))
        if "accept" not in given:
            own.append(("Accept", "*/*"))
        if call.body or call.method in ("POST", "PUT", "PATCH"):
            own.append(("Content-Length", str(len(call.body))))
        return own

    async def _send(self, event: "h11.Request | h11.Data | h11.EndOfMessage") -> None:
        assert self._stream is not None
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)

    async def _head(self) -> h11.Response:
        for _ in range(INTERIM_MAX):
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
        raise IOFailed(f"{self._call.authority} does not come to its answer")

    async def _event(self) -> h11.Event:
        assert self._stream is not None, "begun and not closed"
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))
            elif isinstance(event, h11.Event):
                return event
            else:
                raise IOFailed(f"{self._call.authority} answers otherwise than HTTP allows")

    def _broken(self, failed: BaseException) -> SyscallError:
        if isinstance(failed, SyscallError):
            return failed
        if isinstance(failed, ssl.SSLCertVerificationError):
            return IOFailed(f"{self._call.authority}: its certificate is not good: {failed.verify_message}")
        why = " ".join(str(failed).split())[:200] or type(failed).__name__
        return IOFailed(f"{self._call.authority}: the connection broke, or its answer is no HTTP: {why}")


def _text(octets: bytes) -> str:
    return bytes(octets).decode("latin-1")
