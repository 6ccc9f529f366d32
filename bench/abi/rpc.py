"""gRPC over a unix socket, the same messages in msgspec inside it: what people would take instead of our frames."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from importlib.util import find_spec

import msgspec

from bench.abi.sides import Timed, timed
from syscalls.calls import process

_METHOD = "/kernos.Kernel/Nice"


@contextmanager
def grpc_call() -> Iterator[Timed | None]:
    """One unary call; None, and a line that says so, where grpcio is not installed.

    The client has an OS process of its own, that is told how often to call: gRPC's threads in the process of another
    client would slow that one too."""
    if find_spec("grpc") is None:
        print("grpc_speedup is left out: grpcio is not installed (pip install 'kernos[bench]')", file=sys.stderr)
        yield None
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        _end("serve", address := f"unix:{folder}/grpc.sock"),
        _end("call", address) as client,
    ):

        def run(times: int) -> float:
            assert client.stdin is not None and client.stdout is not None
            client.stdin.write(b"%d\n" % times)
            client.stdin.flush()
            return float(client.stdout.readline())

        yield run


@contextmanager
def _end(role: str, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """One end of the channel, ready."""
    command = [sys.executable, "-m", "bench.abi.rpc", role, address]
    end = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert end.stdout is not None and end.stdout.readline() == b"ready\n", f"gRPC's end died: {role}"
        yield end
    finally:
        end.kill()
        end.communicate()


def call(address: str) -> None:
    """A client that reads how many calls to make, and says how many seconds they took."""
    import grpc

    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(process.Nothing).decode
    with grpc.insecure_channel(address) as channel:
        nice = channel.unary_unary(_METHOD, request_serializer=encode, response_deserializer=decode)
        args = process.Nice(pid=7, nice=0)
        run = timed(lambda: nice(args))
        print("ready", flush=True)
        for line in sys.stdin:
            print(run(int(line)), flush=True)


def serve(address: str) -> None:
    """A server whose one method does nothing."""
    import grpc

    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(process.Nice).decode
    method = grpc.unary_unary_rpc_method_handler(lambda args, _: process.Nothing(), decode, encode)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("kernos.Kernel", {"Nice": method}),))
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](sys.argv[2])
