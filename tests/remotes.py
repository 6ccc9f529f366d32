"""Kernels that listen on loopback, who may call them, and a line to them that can be cut."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from syscalls.calls import kernel as kernel_calls
from syscalls.link.blocking import BlockingLink
from syscalls.link.lasting import LastingSocket
from syscalls.link.tls import Remote
from syscalls.paths import parse_address
from tests.kernelproc import KernelProcess, kernel_up, until
from userland.hosts import credential_bytes
from userland.remote.authority import Authority
from userland.remote.credential import Issuer
from userland.remote.folder import Folder

CONFIG = """
embedding = "sim"
store = "memory"
[models.sim]
origin = "sim:"
driver = "sim"
[models.sim.options]
script = '["one two three four five six seven eight nine ten"]'
tokens_per_second = "40"
"""
_CHUNK = 16 * 1024


@final
class Proxy:
    """A TCP relay on loopback. `cut` ends every connection through it, in the middle of whatever they say; with
    `cut_after` each new connection is ended by itself after so many bytes from the kernel."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.cut_after: int | None = None
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends what is open now."""
        with self._lock:
            hit, self._open = self._open, set()
        for sock in hit:
            _end(sock)

    def close(self) -> None:
        """Listens no more, and cuts."""
        _end(self._listening)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                kernel = socket.create_connection(self._to)
            except OSError:
                _end(client)
                continue
            self.connections += 1
            with self._lock:
                self._open |= {client, kernel}
            threading.Thread(target=self._carry, args=(client, kernel, None), daemon=True).start()
            threading.Thread(target=self._carry, args=(kernel, client, self.cut_after), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, left: int | None) -> None:
        try:
            while data := source.recv(_CHUNK):
                if left is not None:
                    data, left = data[:left], left - len(data)
                sink.sendall(data)
                if left is not None and left <= 0:
                    break
        except OSError:
            pass
        _end(source)
        _end(sink)


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


@final
class Listening:
    """A kernel that listens, with its folder of certificates and credentials."""

    def __init__(self, up: KernelProcess) -> None:
        self.up = up
        self.folder = Folder(up.folder / "state")
        self.issuer = Issuer(self.folder)
        self.authority = Authority(self.folder)
        with up.link() as link:
            info: kernel_calls.KernelInfo = link.call(kernel_calls.INFO, kernel_calls.Info())
        self.host, self.port = parse_address(info.listening)
        until(lambda: self.folder.ca_cert.exists() and self.folder.credential_pub.exists())

    def credential(self, *rights: str, principal: str = "ann", lasts_s: float = 600.0, **options: Any) -> str:
        """A credential as text; for everything, where no right is given."""
        end = time.time() + lasts_s
        return self.issuer.new(principal=principal, rights=rights or ("**",), expires_s=end, **options)

    def remote(self, credential: str | None = None, *, port: int | None = None, **options: Any) -> Remote:
        """How to call it: with a credential for everything unless another is given ("" for none)."""
        text = self.credential() if credential is None else credential
        raw = credential_bytes(text) if text else b""
        given = {"ca": str(self.folder.ca_cert), "credential": raw, **options}
        return Remote(host=self.host, port=port or self.port, **given)

    def link(self, credential: str | None = None, **options: Any) -> BlockingLink:
        """A session, over TLS."""
        return BlockingLink(LastingSocket(self.remote(credential, **options)))

    def certificate(self, out: Path, name: str = "laptop", *rights: str, days: float = 1.0) -> tuple[str, str]:
        """The files of a new client's certificate and key."""
        issued = self.authority.issue(name, rights or ("**",), days=days)
        cert, key = out / f"{name}.pem", out / f"{name}.key"
        cert.write_bytes(issued.cert)
        key.write_bytes(issued.key)
        return str(cert), str(key)

    @contextmanager
    def proxy(self) -> Iterator[Proxy]:
        """A line to it that can be cut."""
        proxy = Proxy(self.host, self.port)
        try:
            yield proxy
        finally:
            proxy.close()


@contextmanager
def listening(config: str = CONFIG, *extra: str) -> Iterator[Listening]:
    """A kernel that answers on a port of loopback."""
    with kernel_up("--listen", "127.0.0.1:0", *extra, config=config) as up:
        yield Listening(up)
