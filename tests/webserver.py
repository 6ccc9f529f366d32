"""A web server of raw answers on loopback, in the test's own loop, and a broker whose DNS a test writes."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import final

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from drivers.fetch import FetchDriver
from syscalls.hooks import hookimpl

Answer = bytes | Callable[[trio.abc.Stream], Awaitable[None]]


@final
class Site:
    """What answers, by path; what was asked, head and body, in order. `gone` is set when a client hangs up early."""

    def __init__(self, pages: dict[str, Answer]) -> None:
        self.pages = pages
        self.asked: list[bytes] = []
        self.port = 0
        self.gone = trio.Event()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                asked = await self._read(stream)
                path = asked.split(b" ", 2)[1].decode().partition("?")[0]
                answer = self.pages.get(path, reply(404, b"no such page"))
                if isinstance(answer, bytes):
                    await stream.send_all(answer)
                else:
                    await answer(stream)
            except trio.BrokenResourceError:
                self.gone.set()

    async def _read(self, stream: trio.abc.Stream) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = await stream.receive_some(65536)
            if not more:
                raise trio.BrokenResourceError
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += await stream.receive_some(65536)
        self.asked.append(head + b"\r\n\r\n" + body)
        return data


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def site(pages: dict[str, Answer], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """Serves until the block ends."""
    served = Site(pages)

    async def one(stream: trio.SocketStream) -> None:
        if tls is None:
            await served.serve(stream)
            return
        try:
            await served.serve(trio.SSLStream(stream, tls, server_side=True, https_compatible=True))
        except (trio.BrokenResourceError, ssl.SSLError):
            pass

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, one, 0, host="127.0.0.1"))
        served.port = listeners[0].socket.getsockname()[1]
        yield served
        nursery.cancel_scope.cancel()


@final
class Names:
    """A DNS of a test's: each name's answers in turn, the last for ever. `asked` are the look-ups."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[str, ...]]] = {}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        answers = self.answers.get(host, [("127.0.0.1",)])
        return answers.pop(0) if len(answers) > 1 else answers[0]


NAMES = Names()


@final
class _Plugin:
    @hookimpl
    def kernos_driver(self) -> FetchDriver:
        return FetchDriver(NAMES)


PLUGIN = _Plugin()
DRIVER = f"{__name__}:PLUGIN"


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for `name`, and the file of the authority that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(public, private)
    return context, public
