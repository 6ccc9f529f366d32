"""The floor: two blocking processes that pack and unpack the same messages with msgspec, and nothing else."""

import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from msgspec import Raw

from bench.abi.sides import Timed, child, timed
from syscalls.calls import process
from syscalls.wire import HEADER_BYTES, Call, Frame, Reply

_BYTES = 65536
_encode = msgspec.msgpack.Encoder().encode
_frame: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_args = msgspec.msgpack.Decoder(process.Nice)
_result = msgspec.msgpack.Decoder(process.Nothing)


def _answer(sock: socket.socket) -> None:
    while data := sock.recv(_BYTES):
        call = _frame.decode(data[HEADER_BYTES:])
        assert isinstance(call, Call)
        _args.decode(call.args)
        _send(sock, Reply(call.id, Raw(_encode(process.Nothing()))))


def _send(sock: socket.socket, frame: Frame) -> None:
    body = _encode(frame)
    sock.sendall(len(body).to_bytes(HEADER_BYTES, "big") + body)


@contextmanager
def pingpong() -> Iterator[Timed]:
    """One round trip."""
    ids = itertools.count(1)
    with child(_answer) as sock:

        def once() -> None:
            _send(sock, Call(next(ids), 0, process.NICE.number, Raw(_encode(process.Nice(pid=7, nice=0)))))
            reply = _frame.decode(sock.recv(_BYTES)[HEADER_BYTES:])
            assert isinstance(reply, Reply)
            _result.decode(reply.result)

        yield timed(once)
