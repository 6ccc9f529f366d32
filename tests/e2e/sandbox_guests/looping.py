"""A guest that runs a trio loop on its socket: echoes, with a timer beside, until the host hangs up."""

from __future__ import annotations

import socket

import trio


def main(sock_fd: int, payload: bytes) -> int:
    return trio.run(_serve, sock_fd)


async def _serve(sock_fd: int) -> int:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=sock_fd)))
    ticked = trio.Event()

    async def tick() -> None:
        for _ in range(3):
            await trio.sleep(0.001)
        ticked.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        async for data in stream:
            await ticked.wait()  # the timer must really run beside the socket
            await stream.send_all(data.upper())
        nursery.cancel_scope.cancel()
    return 0
