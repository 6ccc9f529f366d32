"""`python -m userland.gateway`: started by the kernel, which hands it its link and the listening socket."""

import argparse
import contextlib
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import final

import trio

from syscalls.calls import process
from syscalls.calls.admission import EXPEL, Expel
from syscalls.errors import SyscallError
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.duplex import Duplex, NoServer
from syscalls.link.transport import SocketTransport
from syscalls.peer import Peer
from syscalls.wire import Hello
from userland.gateway.serve import Clients
from userland.gateway.who import Verifier
from userland.link import TRIO, run
from userland.remote.authority import Authority
from userland.remote.credential import Issuer
from userland.remote.folder import Folder

_LOOK_S = 0.5
_IDS_AT_ONCE = 256


@final
class Contexts:
    """The TLS context of now: made anew when the certificates have changed."""

    def __init__(self, folder: Folder, *, certificate_required: bool) -> None:
        self._folder = folder
        self._required = certificate_required
        self._seen: tuple[int, ...] = ()
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        seen = tuple(os.stat(path).st_mtime_ns for path in (self._folder.ca_cert, self._folder.server_cert))
        if self._context is None or seen != self._seen:
            self._context, self._seen = self._make(), seen
        return self._context

    def _make(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # a resumed handshake would pass over what has expired since
        context.load_cert_chain(self._folder.server_cert, self._folder.server_key)
        context.load_verify_locations(self._folder.ca_cert)
        context.verify_mode = ssl.CERT_REQUIRED if self._required else ssl.CERT_OPTIONAL
        return context


async def serve(args: argparse.Namespace) -> None:
    """Until the kernel ends the link."""
    folder = Folder(args.state)
    Authority(folder).ensure()
    Issuer(folder).ensure()
    kernel = SocketTransport(socket.socket(fileno=args.kernel_fd), TRIO)
    link = Duplex(Peer(CLIENT_LIMITS, Hello(info={"gateway": str(os.getpid())})), kernel, NoServer(), trio.Event)
    clients = Clients(
        link,
        args.socket,
        Verifier(folder),
        Contexts(folder, certificate_required=args.require_certificate),
        connections_max=args.connections_max,
        handshake_s=args.handshake_s,
    )
    listening = trio.socket.from_stdlib_socket(socket.socket(fileno=args.listen_fd))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients.serve, listening)
        nursery.start_soon(watch, folder, link, clients)
        await run(link)
        nursery.cancel_scope.cancel()


async def watch(folder: Folder, link: Duplex, clients: Clients) -> None:
    """Tells the kernel what was revoked, soon after, and in its note how many are here."""
    told: set[str] = set()
    note = ""
    while True:
        with contextlib.suppress(SyscallError):
            revoked = folder.revocations()
            fresh = [each for each in revoked if each not in told]
            for at in range(0, len(fresh), _IDS_AT_ONCE):
                some = tuple(fresh[at : at + _IDS_AT_ONCE])
                await link.call(EXPEL, Expel(ids=some, reason=revoked[some[0]]))
                told.update(some)
            now = f"{clients.connected} connected, {clients.refused} refused"
            if now != note:
                await link.call(process.NOTE, process.Note(note=now))
                note = now
        await trio.sleep(_LOOK_S)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m userland.gateway")
    parser.add_argument("--kernel-fd", type=int, required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--connections-max", type=int, required=True)
    parser.add_argument("--handshake-s", type=float, required=True)
    parser.add_argument("--require-certificate", action="store_true")
    try:
        trio.run(serve, parser.parse_args())
    except SyscallError as failed:
        sys.exit(f"gateway: {failed}")


if __name__ == "__main__":
    main()
