"""Programs of the tier `files` on a real kernel: plain Python files and sockets, by rights, in the trace."""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from syscalls.calls import capability, message, process
from syscalls.calls.capability import Grant, Revoke
from syscalls.codec import pack
from syscalls.link.blocking import BlockingLink
from syscalls.worker_limits import WorkerLimits
from tests.kernelproc import KernelProcess, kernel_up, spawn, trace, until, wait

CONFIG = (
    'embedding = "hash"\nstore = "memory"\n[models.sim]\norigin = "sim:"\n[net.hosts]\n"site.test" = ["127.0.0.1"]\n'
)
PROGRAMS = Path(__file__).with_name("plain_programs.py")
DENIED = ["PermissionError", "Permission denied"]


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as up:
        yield up


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: the trace cuts what it shows."""
    with tempfile.TemporaryDirectory(prefix="k") as made:
        (Path(made) / "f").mkdir()
        yield Path(made) / "f"


def start(link: BlockingLink, name: str, *args: Any, rights: tuple[str, ...] = (), **options: Any) -> int:
    return spawn(link, f"{PROGRAMS}:{name}", *args, rights=rights, tier="files", **options)


def run(kernel: KernelProcess, name: str, *args: Any, rights: tuple[str, ...] = (), **options: Any) -> Any:
    link = kernel.link()
    ended = wait(link, start(link, name, *args, rights=rights, **options))
    assert ended.status == "done", ended.error
    return msgspec.msgpack.decode(ended.value)


def told(kernel: KernelProcess, pid: int) -> list[Any]:
    """What the trace has of a process's plain files and sockets."""
    return [each for each in trace(kernel.link()) if each.pid == pid and each.name.startswith("mediated.")]


@contextmanager
def site() -> Iterator[int]:
    """A web server on loopback; its port."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_plain_python_reads_writes_lists_and_moves(kernel: KernelProcess, folder: Path) -> None:
    said = run(kernel, "files", str(folder), rights=(f"file:{folder}/** read,write",))
    deep = f"{folder}/sub"
    assert said == {
        "a": "FIRST and more", "json": {"a": [1, 2]}, "b": b"FIR", "here": deep, "names": ["a.txt", "sub"],
        "scan": [["a.txt", False, 14]],
        "walk": [[str(folder), ["sub"], ["a.txt"]], [deep, ["deep"], ["b.txt", "data.json"]], [f"{deep}/deep", [], []]],
        "exists": [True, False, True], "size": 14, "owner": 0, "same": True,
        "exclusive": ["FileExistsError", "File exists"],
        "none": ["FileNotFoundError", "No such file or directory"],
        "folder": ["IsADirectoryError", "Is a directory"], "left": [],
    }  # fmt: skip


def test_what_no_right_covers_is_refused_and_the_trace_says_how_to_grant_it(
    kernel: KernelProcess, folder: Path
) -> None:
    (folder / "kept").write_text("kept")
    (folder.parent / "outside").mkdir()
    secret = folder.parent / "outside" / "secret"
    secret.write_text("secret")
    (folder / "link").symlink_to(secret)
    link = kernel.link()
    pid = start(link, "refusals", str(folder), str(secret), rights=(f"file:{folder}/** read",))
    said = msgspec.msgpack.decode(wait(link, pid).value)
    assert said.pop("kept") == "kept"
    assert said == dict.fromkeys(said, DENIED)
    records = told(kernel, pid)
    refused = [each for each in records if each.errno == "EPERM"]
    assert any(f"lacks the right 'file:{secret} read' for mediated.open: grant" in each.result for each in refused)
    assert any(f"'file:{folder}/new write'" in each.result for each in refused)
    read = [each for each in records if each.errno == "" and f"path='{folder}/kept'" in each.args]
    assert read and read[0].right == f"file:{folder}/** read"
    assert (folder / "kept").exists() and not (folder / "new").exists()


def test_what_nobody_mediates_is_not_supported_whatever_the_rights(kernel: KernelProcess, folder: Path) -> None:
    said = run(kernel, "unsupported", str(folder), rights=("**",))
    not_there = {name: said.pop(name) for name in ("udp", "raw")}
    assert all(each == ["OSError", "Operation not supported"] for each in said.values()), said
    assert all(each == ["OSError", "Protocol not supported"] for each in not_there.values()), not_there


def test_names_are_found_where_the_c_library_finds_none(kernel: KernelProcess) -> None:
    with site() as port:
        said = run(kernel, "finds", "site.test", port, rights=(f"net:tcp:site.test:{port} connect,private",))
    assert said == {"answer": "hello", "addresses": ["127.0.0.1"], "asked": 2, "other": "gaierror"}


def test_a_right_that_is_taken_opens_nothing_any_more(kernel: KernelProcess, folder: Path) -> None:
    (folder / "a").write_text("a")
    link = kernel.link()
    pid = start(link, "reads", f"{folder}/a", rights=("process:self *",))

    def line(count: int) -> None:
        link.call(message.SEND, message.Send(pid=pid, body=Raw(pack("x")), topic="stdin"))
        until(
            lambda: any(
                p.pid == pid and p.note == str(count)
                for p in link.call(process.LIST, process.ListProcesses()).processes
            )
        )

    line(1)
    given = link.call(capability.GRANT, Grant(pid=pid, right=f"file:{folder}/** read"))
    line(2)
    link.call(capability.REVOKE, Revoke(capability=given.capability))
    line(3)
    link.call(message.SEND, message.Send(pid=pid, body=Raw(pack(None)), topic="stdin"))
    assert msgspec.msgpack.decode(wait(link, pid).value) == [DENIED, "a", DENIED]


def test_the_standard_librarys_web_clients_work_by_name(kernel: KernelProcess) -> None:
    with site() as port:
        said = run(kernel, "web", "site.test", port, rights=(f"net:tcp:site.test:{port} connect,private",))
    assert said == dict.fromkeys(said, "hello")


def test_by_number_too(kernel: KernelProcess) -> None:
    with site() as port:
        said = run(kernel, "web", "127.0.0.1", port, rights=(f"net:tcp:127.0.0.1:{port} connect,private",))
    assert said == dict.fromkeys(said, "hello")


@pytest.mark.parametrize("right", ["net:tcp:site.test:{port} connect", "net:tcp:site.test:1 connect,private"])
def test_private_addresses_and_other_ports_need_their_own_word(kernel: KernelProcess, right: str) -> None:
    with site() as port:
        link = kernel.link()
        pid = start(link, "web", "site.test", port, rights=(right.format(port=port),))
        said = msgspec.msgpack.decode(wait(link, pid).value)
    assert said.pop("by_trio")[0] == "OSError" and said == dict.fromkeys(said, DENIED)
    refused = [each for each in told(kernel, pid) if each.name == "mediated.connect"]
    assert refused and all(f"'net:tcp:site.test:{port} connect" in each.result for each in refused)


def test_names_are_looked_up_for_who_may_connect_there(kernel: KernelProcess) -> None:
    right = "net:tcp:*.test:80 connect"
    assert run(kernel, "looks_up", "site.test", rights=(right,)) == ["127.0.0.1"]
    assert run(kernel, "looks_up", "site.test", rights=("net:tcp:other.test:80 connect",)) == socket.EAI_NONAME


def test_threads_work_on_files_side_by_side(kernel: KernelProcess, folder: Path) -> None:
    assert run(kernel, "threads", str(folder), rights=(f"file:{folder}/** read,write",)) == 8


def test_the_library_is_there_without_any_right(kernel: KernelProcess) -> None:
    assert run(kernel, "imports") == ["sqlite3", "a", "SSLContext"]


def test_a_limit_of_calls_holds(kernel: KernelProcess, folder: Path) -> None:
    link = kernel.link()
    limit = process.Budget(calls=10)
    pid = start(link, "threads", str(folder), rights=(f"file:{folder}/** read,write",), budget=limit)
    wait(link, pid)
    assert sum(each.errno == "" for each in told(kernel, pid)) == 10


def test_a_flood_is_dammed_and_others_are_answered(kernel: KernelProcess, folder: Path) -> None:
    (folder / "a").write_text("a")
    link, other = kernel.link(), kernel.link()
    pid = start(link, "floods", f"{folder}/a", 1.5, rights=(f"file:{folder}/** read",))
    answered = 0
    while any(each.pid == pid and each.state != "zombie" for each in _processes(other)):
        answered += 1
    asked, took_s = msgspec.msgpack.decode(wait(link, pid).value)
    assert answered > 10
    assert asked <= 20_000 * took_s + 512


def test_a_worker_that_dies_while_it_is_answered_hurts_nobody(kernel: KernelProcess, folder: Path) -> None:
    (folder / "a").write_text("a")
    link = kernel.link()
    pids = [start(link, "dies", f"{folder}/a", rights=(f"file:{folder}/** read",)) for _ in range(3)]
    assert {wait(link, pid).status for pid in pids} == {"worker_lost"}
    assert run(kernel, "threads", str(folder), rights=(f"file:{folder}/** read,write",)) == 8


def test_a_supervisor_that_dies_ends_its_worker(kernel: KernelProcess, folder: Path) -> None:
    (folder / "a").write_text("a")
    link = kernel.link()
    pid = start(link, "hangs", f"{folder}/a", rights=(f"file:{folder}/** read",))

    def shown() -> Any:
        return next((each for each in _processes(link) if each.pid == pid), None)

    until(lambda: shown().note == "begun")
    assert shown().tier == "files"
    for supervisor in _supervisors(kernel.child.pid):
        os.kill(supervisor, signal.SIGKILL)
    ended = wait(link, pid)
    assert ended.status == "failed" and "its supervisor died" in ended.error


def _processes(link: BlockingLink) -> tuple[process.ProcessInfo, ...]:
    found: process.Processes = link.call(process.LIST, process.ListProcesses())
    return found.processes


def _supervisors(kernel_pid: int) -> list[int]:
    """The children of the process that makes them."""
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        try:
            command = (task / "cmdline").read_bytes().split(b"\0")
            parent = int((task / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"drivers.mediation" in command and parent != kernel_pid and _parent(parent) == kernel_pid:
            found.append(int(task.name))
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_one_that_fills_the_disk_is_ended_with_the_limit_named(kernel: KernelProcess, folder: Path) -> None:
    link = kernel.link()
    rights = (f"file:{folder}/** read,write",)
    ended = wait(link, start(link, "fills", str(folder), rights=rights, limits=WorkerLimits(disk_bytes=16 << 20)))
    assert (ended.status, ended.code) == ("over_limit", 1)
    assert "disk: 16 MiB" in ended.error
