"""Files and the web on a real kernel, whose hosts are killed under the calls."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trio

from kernos import Sys, connect
from syscalls.errors import BrokenPipe, OutcomeUnknown
from tests.kernelproc import kernel_up

CONFIG = 'embedding = "hash"\nstore = "memory"\n[models.sim]\norigin = "sim:"\n'
SIZE = 4_000_000


async def kill(sys: Sys, name: str) -> None:
    """Kills the host of a device and waits until another stands in for it."""
    before = await _device(sys, name)
    os.kill(before.host, signal.SIGKILL)
    with trio.fail_after(30):
        while (now := await _device(sys, name)).host in (0, before.host) or now.restarts == before.restarts:  # noqa: ASYNC110 (it happens in another process)
            await trio.sleep(0.02)


async def _device(sys: Sys, name: str) -> Any:
    found = await sys.call("device.list")
    return next(device for device in found.devices if device.name == name)


async def test_open_files_outlive_their_host(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    with kernel_up(config=CONFIG) as kernel:
        async with connect(kernel.socket) as sys:
            path, other = f"{tmp_path}/a", f"{tmp_path}/b"
            await sys.files.write(path, data)
            reader = await sys.files.open(path)
            writer = await sys.files.open(other, "write", create=True)
            gone = await sys.files.open(other)
            stream = sys.files.stream(path)
            read = await stream.__anext__()
            await kill(sys, "files")
            assert read + await stream.whole() == data, "a stream goes on where it was"
            assert await reader.read(100, 1000) == data[100:1100]
            assert await writer.append("more") == 4
            await kill(sys, "files")
            await sys.files.write(other, "another file")
            with pytest.raises(BrokenPipe, match="another file lies there"):
                await gone.read()
        assert "Traceback" not in kernel.stderr()


async def test_what_private_trees_hold_is_counted_in_the_next_life(tmp_path: Path) -> None:
    with kernel_up(config=CONFIG, folder=tmp_path) as kernel:
        async with connect(kernel.socket) as sys:
            await sys.files.mkdir("~/d")
            await sys.files.write("~/d/a", b"x" * 1000)
            await kill(sys, "files")
            await sys.files.write("~/d/a", b"x" * 10, append=True)
            principal = (await sys.self()).principal
    left = tmp_path / "state/files" / principal / "d/.kernos-0123456789abcdef"
    left.write_bytes(b"half of a file")
    with kernel_up(config=CONFIG, folder=tmp_path) as kernel:
        async with connect(kernel.socket) as sys:
            assert not left.exists(), "what a dead host had not finished is cleared away"
            assert await sys.files.read("~/d/a") == b"x" * 1000 + b"x" * 10
            assert await _principals_bytes(sys, principal) == 1010
            await sys.files.remove("~/d/a")
            assert await _principals_bytes(sys, principal) == 0


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder in which trees grow that pytest itself cannot remove."""
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path], check=True)


async def test_a_private_tree_is_counted_however_deep_it_is(deep: Path) -> None:
    """Deeper than Python calls itself, and by renaming deeper than a path is long: a program could keep the kernel from
    ever booting again."""
    with kernel_up(config=CONFIG, folder=deep) as kernel:
        async with connect(kernel.socket) as sys:
            principal = (await sys.self()).principal
            for top in ("~/a", "~/b"):
                await sys.files.mkdir(top)
                for depth in range(1, 1500):
                    await sys.files.mkdir(top + "/d" * depth)
            await sys.files.write("~/a" + "/d" * 1499 + "/f", b"x" * 1000)
            await sys.files.rename("~/a", "~/b" + "/d" * 1499 + "/a")
            await sys.files.write("~/f", b"x" * 10)
    (deep / "state/files" / principal / "link").symlink_to("/")
    with kernel_up(config=CONFIG, folder=deep) as kernel:
        async with connect(kernel.socket) as sys:
            assert await _principals_bytes(sys, principal) == 1010


async def _principals_bytes(sys: Sys, principal: str) -> int:
    usage = await sys.call("account.usage", account=principal)
    return int(next((use.used for use in usage.accounts[0].resources if use.resource == "bytes_stored"), 0))


@contextmanager
def hanging() -> Iterator[tuple[int, list[str], threading.Event]]:
    """A server whose first answer of each method never comes; its port, the methods asked, and that one was."""
    asked: list[str] = []
    seen, over = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = self.command not in asked
            asked.append(self.command)
            seen.set()
            if first:
                over.wait(60)
                return
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"again")

        do_POST = do_GET  # noqa: N815 (the name is http.server's)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked, seen
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_broker_that_dies_repeats_what_changes_nothing_and_nothing_else() -> None:
    with kernel_up(config=CONFIG) as kernel, hanging() as (port, asked, seen):
        async with connect(kernel.socket) as sys:

            async def killer() -> None:
                await trio.to_thread.run_sync(seen.wait)
                await kill(sys, "fetch")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(killer)
                answer = await sys.fetch(f"http://127.0.0.1:{port}/")
            assert (answer.text, asked) == ("again", ["GET", "GET"])
            seen.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(killer)
                with pytest.raises(OutcomeUnknown, match="the broker died under POST"):
                    await sys.fetch(f"http://127.0.0.1:{port}/", method="POST", body="once")
            assert asked == ["GET", "GET", "POST"]
