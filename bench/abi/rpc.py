"""gRPC over a unix socket, the same messages in msgspec inside it: what people would take instead of our frames."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import msgspec

from bench.abi.sides import Timed, timed
from syscalls.calls import process

_METHOD = "/kernos.Kernel/Nice"


@contextmanager
def grpc_call() -> Iterator[Timed | None]:
    """One unary call; None, and a line that says so, where grpcio is not installed."""
    try:
        import grpc
    except ImportError:
        print("grpc_speedup is left out: grpcio is not installed (pip install 'kernos[bench]')", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/grpc.sock"
        server = subprocess.Popen([sys.executable, "-m", "bench.abi.rpc", address], stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None and server.stdout.readline() == b"ready\n", "the gRPC server died"
            with grpc.insecure_channel(address) as channel:
                encode = msgspec.msgpack.Encoder().encode
                decode = msgspec.msgpack.Decoder(process.Nothing).decode
                call = channel.unary_unary(_METHOD, request_serializer=encode, response_deserializer=decode)
                args = process.Nice(pid=7, nice=0)
                yield timed(lambda: call(args))
        finally:
            server.kill()
            server.wait()


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
    os.write(1, b"ready\n")
    server.wait_for_termination()


if __name__ == "__main__":
    serve(sys.argv[1])
