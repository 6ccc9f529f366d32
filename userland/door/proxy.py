"""The way out: HTTP CONNECT and whole URLs, for a command that was granted where it may connect.

It connects as any plain program does: this worker's connect is answered by its supervisor, which goes by the rights of
the process (`net:tcp:HOST:PORT connect`, or every action on a whole site, `net:https://HOST/** *`), by the broker's
addresses for a name, and never to private ones without the right `private`. Nothing is decided here.
"""

import socket
from collections.abc import Mapping

import trio

CONNECT_S = 30.0
PIECE_BYTES = 64 * 1024
_OWN = frozenset(
    {"proxy-connection", "proxy-authorization", "connection", "keep-alive", "upgrade", "host"}
    | {"transfer-encoding", "content-length", "expect"}
)
"""Headers that are between two ends of a connection, or are written anew."""


class NoWay(Exception):
    """There is no connection: `status` is HTTP's for why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def connect(host: str, port: int) -> trio.SocketStream:
    """A connection to there. Raises NoWay."""
    try:
        sock = await trio.to_thread.run_sync(socket.create_connection, (host, port), CONNECT_S, abandon_on_cancel=True)
    except PermissionError:
        raise NoWay(
            403,
            f"not granted: 'kernos exec --allow 'net:tcp:{host}:{port} connect''; a right to the site counts only as a "
            f"whole, 'net:https://{host}/** *': methods and paths cannot be seen within TLS",
        ) from None
    except socket.gaierror:
        raise NoWay(
            502, f"{host} has no address for this process: is 'net:tcp:{host}:{port} connect' granted?"
        ) from None
    except TimeoutError:
        raise NoWay(504, f"{host}:{port} did not answer in {CONNECT_S:g} s") from None
    except OSError as failed:
        raise NoWay(502, f"{host}:{port}: {failed.strerror or failed}") from None
    sock.settimeout(None)
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def authority(text: str, *, default_port: int) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT` or, with a default, `HOST`. Raises NoWay."""
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, str(default_port)
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or not host:
        raise NoWay(400, f"{text!r} is no HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def rewritten(method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[str, int, bytes]:
    """Where a request for a whole URL goes, and the bytes of it as its server reads them. Raises NoWay."""
    where, _, path = target.removeprefix("http://").partition("/")
    if not target.startswith("http://") or "@" in where:
        raise NoWay(400, f"{target!r}: a proxy is asked for http:// URLs, for all else by CONNECT")
    host, port = authority(where, default_port=80)
    lines = [f"{method} /{path} HTTP/1.1", f"host: {where}", "connection: close"]
    lines += [
        f"{name}: {value}"
        for name, value in headers.items()
        if name not in (*_OWN, "transfer-encoding", "content-length")
    ]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {len(body)}")
    return host, port, "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def splice(one: trio.SocketStream, other: trio.SocketStream, first: bytes = b"") -> None:
    """Bytes both ways until both ends have no more, or one breaks; `first` is on its way to `other` already."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_copy, one, other, first, nursery.cancel_scope)
        nursery.start_soon(_copy, other, one, b"", nursery.cancel_scope)


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, first: bytes, scope: trio.CancelScope) -> None:
    try:
        if first:
            await sink.send_all(first)
        while data := await source.receive_some(PIECE_BYTES):
            await sink.send_all(bytes(data))
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        scope.cancel()
