"""Programs that use plain Python files and sockets, for `test_plain_files.py`."""
# ruff: noqa: ASYNC230, SIM115 (blocking files are what they are about, and nothing is left to close)

import fcntl
import http.client
import json
import os
import shutil
import socket
import ssl
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import trio
import trio.lowlevel

from kernos import Sys, program
from userland import lookup


def outcome(work: Any) -> Any:
    """What it gave, or what it raised."""
    try:
        return work()
    except OSError as raised:
        failed = getattr(raised, "reason", raised)  # urllib wraps it
        return [type(failed).__name__, os.strerror(failed.errno or 0)]


@program
async def files(sys: Sys, folder: str) -> dict[str, Any]:
    """All that plain Python does with files."""
    home = Path(folder)
    (home / "a.txt").write_text("first")
    with open(f"{folder}/a.txt", "a") as file:
        file.write(" and more")
    with open(f"{folder}/a.txt", "r+") as file:
        file.seek(0)
        file.write("FIRST")
    (home / "data.json").write_text(json.dumps({"a": [1, 2]}))
    (home / "sub" / "deep").mkdir(parents=True)
    os.rename(home / "data.json", home / "sub" / "data.json")
    shutil.copy2(home / "a.txt", home / "sub" / "b.txt")
    with open(home / "sub" / "b.txt", "rb+") as file:
        file.truncate(3)
    os.chdir(home / "sub")
    told = {
        "a": (home / "a.txt").read_text(),
        "json": json.load(open("data.json")),
        "b": Path("b.txt").read_bytes(),
        "here": os.getcwd(),
        "names": sorted(each.name for each in home.iterdir()),
        "scan": sorted((each.name, each.is_dir(), each.stat().st_size) for each in os.scandir(home) if each.is_file()),
        "walk": [(at, sorted(folders), sorted(names)) for at, folders, names in os.walk(home)],
        "exists": [(home / "a.txt").exists(), (home / "none").exists(), os.access(home / "a.txt", os.R_OK)],
        "size": os.stat(home / "a.txt").st_size,
        "owner": os.stat(home / "a.txt").st_uid,
        "same": os.path.samefile(home / "a.txt", "../a.txt"),
        "exclusive": outcome(lambda: open(home / "a.txt", "x")),
        "none": outcome(lambda: open(home / "none")),
        "folder": outcome(lambda: open(home / "sub", "w")),
    }
    shutil.rmtree(home / "sub")
    os.unlink(home / "a.txt")
    told["left"] = os.listdir(home)
    return told


@program
async def refusals(sys: Sys, folder: str, outside: str) -> dict[str, Any]:
    """What a program without the right is told."""
    return {
        "read": outcome(lambda: open(outside)),
        "stat": outcome(lambda: os.stat(outside)),
        "list": outcome(lambda: os.listdir(os.path.dirname(outside))),
        "write": outcome(lambda: open(f"{folder}/new", "w")),
        "mkdir": outcome(lambda: os.mkdir(f"{folder}/new")),
        "unlink": outcome(lambda: os.unlink(f"{folder}/kept")),
        "up": outcome(lambda: open(f"{folder}/../outside/secret")),
        "link": outcome(lambda: open(f"{folder}/link")),
        "etc": outcome(lambda: open("/etc/passwd")),
        "kept": Path(f"{folder}/kept").read_text(),
    }


@program
async def unsupported(sys: Sys, folder: str) -> dict[str, Any]:
    """What nobody mediates, in a folder where everything is allowed."""
    with open(f"{folder}/a", "w+") as file, socket.socket() as stream:
        return {
            "link": outcome(lambda: os.link(f"{folder}/a", f"{folder}/b")),
            "symlink": outcome(lambda: os.symlink(f"{folder}/a", f"{folder}/b")),
            "flock": outcome(lambda: fcntl.flock(file, fcntl.LOCK_EX)),
            "lockf": outcome(lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)),
            "attribute": outcome(lambda: os.setxattr(f"{folder}/a", "user.a", b"a")),
            "bind": outcome(lambda: stream.bind(("127.0.0.1", 0))),
            "listen": outcome(stream.listen),
            "udp": outcome(lambda: socket.socket(type=socket.SOCK_DGRAM)),
            "raw": outcome(lambda: socket.socket(type=socket.SOCK_RAW)),
        }


@program
async def finds(sys: Sys, host: str, port: int) -> dict[str, Any]:
    """A name, where the C library finds none, as one does that does not ask nscd."""
    asked = []

    def finds_nothing(name: Any, *args: Any) -> Any:
        if name == host:
            asked.append(name)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return by_system(name, *args)

    by_system, lookup._by_system = lookup._by_system, finds_nothing  # type: ignore[misc, assignment]
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/hello")
    return {
        "answer": connection.getresponse().read().decode(),
        "addresses": sorted({each[4][0] for each in socket.getaddrinfo(host, port)}),
        "asked": len(asked),
        "other": outcome(lambda: socket.getaddrinfo("elsewhere.test", port))[0],
    }


@program
async def reads(sys: Sys, path: str) -> list[Any]:
    """Reads a file each time that a line is typed."""
    seen = []
    while await sys.read_line() is not None:
        seen.append(outcome(lambda: open(path).read()))
        await sys.note(f"{len(seen)}")
    return seen


@program
async def web(sys: Sys, host: str, port: int) -> dict[str, Any]:
    """The standard library's clients, blocking and in threads."""

    def by_http_client() -> str:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request("GET", "/hello")
        return connection.getresponse().read().decode()

    def by_urllib() -> str:
        with urllib.request.urlopen(f"http://{host}:{port}/hello", timeout=10) as answer:
            return str(answer.read().decode())

    def blocking() -> str:
        with socket.socket() as sock:
            sock.connect((socket.gethostbyname(host), port))
            sock.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
            return sock.makefile().read().rpartition("\n")[2]

    async def by_trio() -> str:
        stream = await trio.open_tcp_stream(host, port)
        await stream.send_all(b"GET /hello HTTP/1.0\r\n\r\n")
        return b"".join([piece async for piece in stream]).rpartition(b"\n")[2].decode()

    told = {each.__name__: outcome(each) for each in (by_http_client, by_urllib, blocking)}
    told["in_thread"] = await trio.to_thread.run_sync(lambda: outcome(by_urllib))
    try:
        told["by_trio"] = await by_trio()
    except OSError as failed:
        told["by_trio"] = [type(failed).__name__, str(failed)]
    return told


@program
async def looks_up(sys: Sys, host: str) -> Any:
    """Asks for a name alone."""
    try:
        return sorted({str(each[4][0]) for each in socket.getaddrinfo(host, 80)})
    except socket.gaierror as failed:
        return failed.errno


@program
async def dials(sys: Sys, address: str, port: int) -> Any:
    """Connects to an address."""
    return outcome(lambda: socket.create_connection((address, port), timeout=5).recv(100).decode())


@program
async def hangs(sys: Sys, path: str) -> str:
    """Opens over and over, until it cannot."""
    await sys.note("begun")
    while True:
        with open(path):
            await trio.lowlevel.checkpoint()


@program
async def floods(sys: Sys, path: str, lasts_s: float) -> tuple[int, float]:
    """Asks after a file from many threads at once; how often, and in how many seconds."""
    counts: list[int] = []
    began = time.monotonic()

    def ask() -> None:
        asked = 0
        while time.monotonic() < began + lasts_s:
            os.stat(path)
            asked += 1
        counts.append(asked)

    all_ = [threading.Thread(target=ask) for _ in range(8)]
    for each in all_:
        each.start()
    for each in all_:
        await trio.to_thread.run_sync(each.join)
    return sum(counts), time.monotonic() - began


@program
async def dies(sys: Sys, path: str) -> None:
    """Ends in the middle of many opens."""

    def ask() -> None:
        while True:
            with open(path):
                pass

    for _ in range(8):
        threading.Thread(target=ask, daemon=True).start()
    await trio.sleep(0.1)
    os._exit(3)


@program
async def threads(sys: Sys, folder: str) -> int:
    """Many threads, each with a file of its own."""
    done: list[int] = []

    def work(number: int) -> None:
        for turn in range(20):
            path = Path(folder) / f"{number}"
            path.write_text(f"{number} {turn}")
            assert path.read_text() == f"{number} {turn}"
            path.unlink()
        done.append(number)

    all_ = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in all_:
        each.start()
    for each in all_:
        each.join()
    return len(done)


@program
async def imports(sys: Sys) -> list[str]:
    """Modules that nobody has loaded before: they are read from the library, without any right."""
    import sqlite3
    from xml.etree import ElementTree

    return [sqlite3.__name__, ElementTree.fromstring("<a/>").tag, type(ssl.create_default_context()).__name__]


@program
async def fills(sys: Sys, folder: str) -> None:
    number = 0
    while True:
        number += 1
        with open(f"{folder}/{number % 4}", "wb") as file:
            file.write(bytes(1 << 20))
