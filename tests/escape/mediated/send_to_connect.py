"""Sends to a port that was not given, on a socket whose own connection failed: sending may connect (TCP Fast Open)."""

import errno
import select
import socket
from typing import Any

MSG_FASTOPEN = 0x20000000


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket() as sock:
        sock.setblocking(False)
        if sock.connect_ex(("127.0.0.1", stage["tcp_closed"])) == errno.EINPROGRESS:
            select.select([], [sock], [], 5)
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        sock.setblocking(True)
        try:
            send(sock, stage["tcp"])
        except ConnectionError:  # the first takes the end of the connection that failed
            send(sock, stage["tcp"])
        return sock.recv(100).decode()


def send(sock: socket.socket, port: int) -> None:
    sock.sendmsg([b"hello"], [], MSG_FASTOPEN, ("127.0.0.1", port))


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]
