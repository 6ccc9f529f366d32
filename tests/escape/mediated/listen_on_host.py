"""Lets others connect to it, on a socket that lies in the host's network because its own connection failed."""

import errno
import select
import socket
from typing import Any


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket() as sock:
        sock.setblocking(False)
        if sock.connect_ex(("127.0.0.1", stage["tcp_closed"])) == errno.EINPROGRESS:
            select.select([], [sock], [], 5)
            sock.connect_ex(("127.0.0.1", stage["tcp_closed"]))  # takes the end of the one that failed
        sock.listen()
        return "listens" if sock.getsockname()[1] else "nowhere"


def proof(stage: dict[str, Any]) -> object:
    return "listens"
