"""Clients that break the wire's rules, against a real kernel: refused with a reason, bounded, and nobody else notices.

Each test ends with a second client that was there all along and still is answered, and with the kernel's memory near
where it was.
"""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import pytest
from msgspec import Raw, msgpack

from syscalls.calls import clock, context, message, process
from syscalls.calls.process import Exit
from syscalls.codec import pack
from syscalls.errors import CLASS_OF, Errno
from syscalls.limits import CLIENT_LIMITS, MIB
from syscalls.link.blocking import BlockingLink
from syscalls.wire import (
    BlobRef,
    Bye,
    Call,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Frame,
    FrameBuffer,
    Hello,
    Items,
    Reply,
    decode,
    encode,
)
from tests.kernelproc import KernelProcess, kernel_up, spawn, until, wait

CONFIG = 'embedding = "hash"\nstore = "memory"\n[models.sim]\norigin = "sim:"\n[bounds]\nhandshake_s = 1.0\n'
GROWTH_BYTES_MAX = 48 * MIB
"""Allocators keep some; what a hostile peer could pin is bounded by its link's limits."""

FORGERS = """
from kernos import Sys, program
from syscalls.calls import clock
from syscalls.errors import SyscallError

@program
async def forges(sys: Sys, channel: int) -> str:
    try:
        await sys._door._link.call(clock.NOW, clock.Now(), channel=channel)
    except SyscallError as refused:
        return refused.errno.name
    return "served"

@program
async def naps(sys: Sys) -> str:
    await sys.sleep(1.5)
    return "rested"

@program
async def borrows(sys: Sys, handle: int) -> list:
    heard = []
    for name in ("context.stat", "context.read", "context.close", "context.fork"):
        args = {"context": handle, "page": "0" * 32} if name == "context.read" else {"context": handle}
        try:
            await sys.call(name, **args)
        except SyscallError as refused:
            heard.append(refused.errno.name)
        else:
            heard.append("served")
    return heard

@program
async def reaches(sys: Sys, pid: int) -> list:
    heard = []
    for name, args in (("process.kill", {"pid": pid}), ("process.nice", {"pid": pid, "nice": 19}),
                       ("process.logs", {"pid": pid}), ("message.send", {"pid": pid, "body": b"x"}),
                       ("process.wait", {"pid": pid}), ("process.kill", {"pid": 2**63}), ("process.kill", {"pid": -1})):
        try:
            if name == "process.logs":
                async for _ in sys.stream(name, **args):
                    pass
            else:
                await sys.call(name, **args)
        except SyscallError as refused:
            heard.append(refused.errno.name)
        else:
            heard.append("served")
    return heard
"""


@pytest.fixture(scope="module")
def up() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as up:
        yield up


@pytest.fixture(scope="module")
def forgers(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("programs") / "forgers.py"
    path.write_text(FORGERS)
    return str(path)


@pytest.fixture(autouse=True)
def hung_up() -> Iterator[None]:
    """Whatever a test left open is closed after it."""
    yield
    while ROGUES:
        ROGUES.pop().sock.close()


def memory_bytes(pid: int) -> int:
    """What the OS process holds in memory."""
    text = Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


@final
class Rogue:
    """A client that says what it likes, and reads when it likes."""

    def __init__(self, up: KernelProcess, *, hello: bool = True, buffer_bytes: int | None = None) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if buffer_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.sock.connect(str(up.socket))
        self.sock.settimeout(20)
        self._buffer = FrameBuffer(CLIENT_LIMITS.frame_bytes_max)
        ROGUES.append(self)
        if hello:
            self.say(Hello())

    def say(self, *frames: Frame) -> None:
        self.shout(b"".join(encode(frame) for frame in frames))

    def shout(self, data: bytes) -> None:
        """Bytes; a kernel that has hung up in the middle of them is what the test is about."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def heard(self, *, until_bye: bool = True) -> list[Frame]:
        """All frames until the kernel hangs up (or, without, until it has answered something)."""
        frames: list[Frame] = []
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                return frames
            frames += [decode(body) for body in self._buffer.feed(data)]
            if not until_bye and any(not isinstance(frame, Hello) for frame in frames):
                return frames

    def last_words(self) -> str:
        """Why the kernel hung up."""
        frames = self.heard()
        assert isinstance(frames[-1], Bye), frames[-3:]
        return frames[-1].reason


@contextmanager
def unharmed(up: KernelProcess, growth_max: int = GROWTH_BYTES_MAX) -> Iterator[None]:
    """A bystander that asks all the while, and is answered; afterwards the kernel holds no more than a little."""
    done = threading.Event()
    slowest = [0.0]
    failures: list[BaseException] = []

    def ask(link: BlockingLink) -> None:
        try:
            while not done.wait(0.02):
                began = time.monotonic()
                link.call(process.SELF, process.Self())
                slowest[0] = max(slowest[0], time.monotonic() - began)
        except BaseException as failed:
            failures.append(failed)

    with up.link() as link:
        link.call(process.SELF, process.Self())
        before = memory_bytes(up.child.pid)
        thread = threading.Thread(target=ask, args=(link,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        assert not failures
        assert slowest[0] < 15, "a bystander waited for somebody else's misdeed"
        until(lambda: memory_bytes(up.child.pid) - before < growth_max)


ROGUES: list[Rogue] = []
LIES: dict[str, tuple[list[Frame], str]] = {
    "negative credit in a call": ([Call(1, 0, 0x70, credit=-1)], "credit"),
    "huge credit in a call": ([Call(1, 0, 0x70, credit=1 << 40)], "credit"),
    "negative credit": ([Call(1, 0, 0xA1, credit=1), Credit(1, -5)], "credit"),
    "huge credit": ([Call(1, 0, 0xA1, credit=1), Credit(1, 1 << 40)], "credit"),
    "a reply to no call": ([Reply(7)], "never made"),
    "an end to no call": ([End(7)], "never made"),
    "an error to no call": ([Error(7, 1, "x")], "never made"),
    "items of no call": ([Items(7, [Raw(b"\xc0")])], "never made"),
    "HELLO twice": ([Hello()], "HELLO twice"),
    "an id used again": ([Call(1, 0, 0x70), Call(1, 0, 0x70)], "used before"),
    "an endless blob": ([Call(1, 0, 0x11, blob=BlobRef(1, 1 << 40, b"d" * 16))], "blob"),
    "a chunk of no blob": ([Chunk(9, 0, b"x")], "not announced"),
    "a channel that is another's": ([Call(1, 1, 0x70)], "channel 1"),
    "a channel that is nobody's": ([Call(1, -1, 0x70)], "channel -1"),
}


@pytest.mark.parametrize(("frames", "reason"), LIES.values(), ids=LIES.keys())
def test_a_liar_is_told_why_and_hung_up_on(up: KernelProcess, frames: list[Frame], reason: str) -> None:
    with unharmed(up):
        liar = Rogue(up)
        liar.say(*frames)
        assert reason in liar.last_words()


@pytest.mark.parametrize("frame", [Call(1, 0, 0x70), Credit(1, 1), Cancel(1), Reply(1)], ids=lambda f: type(f).__name__)
def test_nothing_is_heard_before_hello(up: KernelProcess, frame: Frame) -> None:
    with unharmed(up):
        rude = Rogue(up, hello=False)
        rude.say(frame)
        assert "before HELLO" in rude.last_words()


def test_who_says_nothing_is_hung_up_on(up: KernelProcess) -> None:
    with unharmed(up):
        assert "no HELLO" in Rogue(up, hello=False).last_words()


def test_another_version_is_told_which_is_spoken(up: KernelProcess) -> None:
    with unharmed(up):
        stranger = Rogue(up, hello=False)
        stranger.say(Hello(abi=99))
        assert "ABI" in stranger.last_words()


@pytest.mark.parametrize("prefix", [b"\xff\xff\xff\xff", struct.pack(">I", 1 << 31), struct.pack(">I", 65537)])
def test_a_length_of_4_gib_is_refused_before_it_is_believed(up: KernelProcess, prefix: bytes) -> None:
    with unharmed(up, growth_max=16 * MIB):
        giant = Rogue(up)
        giant.shout(prefix + b"\x00" * (8 * MIB))
        assert "at most 65536" in giant.last_words()


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


BOMBS = {
    "arrays in arrays": b"\x91" * 60_000,
    "maps in maps": b"\x81\xa1a" * 20_000,
    "an array of 4 billion": b"\xdd\xff\xff\xff\xff",
    "a map of 4 billion": b"\xdf\xff\xff\xff\xff",
    "a string of 4 billion": b"\xdb\xff\xff\xff\xffx",
    "text that is none": b"\xa4\xff\xfe\xfd\xfc",
    "a byte that means nothing": b"\xc1",
    "nothing at all": b"",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_for_a_frame(up: KernelProcess, bomb: bytes) -> None:
    with unharmed(up):
        bomber = Rogue(up)
        bomber.shout(framed(bomb))
        assert "no frame of ABI" in bomber.last_words()


@pytest.mark.parametrize("bomb", [b"\x91" * 60_000, b"\x81\xa1a" * 19_000 + b"\xc0", b"\xdd\xff\xff\xff\xff"])
def test_a_bomb_for_arguments_costs_that_call_or_that_link(up: KernelProcess, bomb: bytes) -> None:
    """Well-formed depths are EINVAL; what is not msgpack at all ends the link."""
    with unharmed(up):
        bomber = Rogue(up)
        bomber.shout(framed(b"\x94\x01\x01\x00\x11" + bomb))
        (*_, last) = bomber.heard(until_bye=False)
        assert isinstance(last, Bye) or (isinstance(last, Error) and last.errno == Errno.EINVAL), last


def test_a_bomb_that_is_well_formed_and_wide_costs_no_more_than_it_weighs(up: KernelProcess) -> None:
    """16 MiB of empty maps would be 1.2 GiB of dicts: free-form values are bounded before they are made."""
    with up.link() as link:
        chat = link.call(context.OPEN, context.Open()).context
        peak_before = peak_bytes(up.child.pid)
        wide = b"\xdd" + struct.pack(">I", 15_000_000) + b"\x80" * 15_000_000
        call = b"\x84\xa4type\xa4call\xa4name\xa1x\xa9arguments\x81\xa1a" + wide + b"\xa2id\xa0"
        turn = b"\x82\xa4role\xa9assistant\xa5parts\x91" + call
        args = b"\x82\xa7context" + msgpack.encode(chat) + b"\xa5turns\x91" + turn
        with unharmed(up), pytest.raises(CLASS_OF[Errno.EINVAL], match="free-form"):
            link.call(context.APPEND, Raw(args))
        assert peak_bytes(up.child.pid) - peak_before < 200 * MIB


def test_a_message_keeps_no_more_than_is_in_it(up: KernelProcess) -> None:
    """A topic of 12 MiB, taken back in the same arguments, would stay in memory for as long as the message waits."""
    with up.link() as link:
        own = link.call(process.SELF, process.Self()).pid
        said = b"\xa5topic" + msgpack.encode("x" * (12 * MIB)) + b"\xa5topic\xa0"
        args = Raw(b"\x84\xa3pid" + msgpack.encode(own) + said + b"\xa4body\x01")
        with unharmed(up):
            for _ in range(12):
                link.call(message.SEND, args)
        for _ in range(12):
            assert bytes(link.call(message.RECEIVE, message.Receive()).body) == b"\x01"


def test_what_a_call_said_goes_when_it_is_answered(up: KernelProcess) -> None:
    """Not when garbage is sought, which is after some hundreds of calls: of 16 MiB each, there may be."""
    with up.link() as link, unharmed(up):
        said = Raw(pack(message.Send(pid=1 << 30, body=Raw(pack(b"x" * (12 * MIB))))))
        for _ in range(12):
            with pytest.raises(CLASS_OF[Errno.ESRCH]):
                link.call(message.SEND, said)
        own = link.call(process.SELF, process.Self()).pid
        said = Raw(pack(message.Send(pid=own, body=Raw(pack(b"x" * (12 * MIB))))))
        for _ in range(12):
            with pytest.raises(CLASS_OF[Errno.EINVAL], match="a message of"):
                link.call(message.SEND, said)


def peak_bytes(pid: int) -> int:
    (line,) = [s for s in Path(f"/proc/{pid}/status").read_text().splitlines() if s.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_hundred_thousand_calls(up: KernelProcess) -> None:
    """Beyond the bound each is refused with EAGAIN, those within it go on, and the rest of the machine too."""
    with unharmed(up):
        crowd = Rogue(up)
        args = Raw(pack(clock.Sleep(seconds=1e6)))
        refused: list[Frame] = []

        def read() -> None:
            while len(refused) < 100_000 - CLIENT_LIMITS.calls_max:
                refused.extend(f for f in crowd.heard(until_bye=False) if isinstance(f, Error))

        reader = threading.Thread(target=read)
        reader.start()
        for first in range(1, 100_001, 1000):
            crowd.say(*(Call(n, 0, 0x71, args) for n in range(first, first + 1000)))
        reader.join(timeout=60)
        assert len(refused) == 100_000 - CLIENT_LIMITS.calls_max
        assert {f.errno for f in refused if isinstance(f, Error)} == {Errno.EAGAIN}
        crowd.sock.close()


def test_a_peer_that_stops_reading_fills_its_own_buffers(up: KernelProcess) -> None:
    """It asks for 10,000 tables of processes and reads none; what waits for it is bounded."""
    with unharmed(up):
        deaf = Rogue(up, buffer_bytes=4096)
        deaf.sock.setblocking(False)
        asked = b"".join(encode(Call(n, 0, 0x05, Raw(b"\x81\xa3all\xc3"))) for n in range(1, 10_001))
        sent, deadline = 0, time.monotonic() + 3
        while sent < len(asked) and time.monotonic() < deadline:
            try:
                sent += deaf.sock.send(asked[sent : sent + 4096])
            except BlockingIOError:
                time.sleep(0.01)
        assert sent < len(asked) or memory_bytes(up.child.pid)
        deaf.sock.close()


def test_a_peer_that_takes_no_items_of_a_stream(up: KernelProcess) -> None:
    """Without credit nothing comes; the stream waits for its reader, and cancelling it is answered."""
    with unharmed(up):
        idle = Rogue(up)
        idle.say(Call(1, 0, 0xA1, Raw(b"\x80"), credit=1))
        items = [f for f in idle.heard(until_bye=False) if isinstance(f, Items)]
        assert sum(len(f.items) for f in items) == 1
        idle.say(Cancel(1, "enough"))
        (answer,) = [f for f in idle.heard(until_bye=False) if isinstance(f, Error)]
        assert answer.errno == Errno.ECANCELED


def test_a_frame_that_comes_byte_by_byte_is_a_frame(up: KernelProcess) -> None:
    with unharmed(up):
        slow = Rogue(up, hello=False)
        for byte in encode(Hello()) + encode(Call(1, 0, 0x70, Raw(b"\x80"))):
            slow.shout(bytes([byte]))
        assert isinstance(slow.heard(until_bye=False)[-1], Reply)


def test_links_that_break_in_mid_frame_leave_nothing(up: KernelProcess) -> None:
    def sessions() -> int:
        with up.link() as link:
            return len(link.call(process.LIST, process.ListProcesses(all=True)).processes)

    before = sessions()
    with unharmed(up):
        whole = encode(Hello()) + encode(Call(1, 0, 0x71, Raw(pack(clock.Sleep(seconds=1e6)))))
        for cut in range(len(whole) + 1):
            broken = Rogue(up, hello=False)
            broken.shout(whole[:cut])
            broken.sock.close()
    until(lambda: sessions() <= before)


# From inside a jail.


def value_of(ended: Exit) -> Any:
    assert ended.status == "done", ended.error
    return msgpack.decode(ended.value)


def test_a_worker_that_speaks_for_another_process_loses_its_own(up: KernelProcess, forgers: str) -> None:
    with unharmed(up), up.link() as link:
        victim = spawn(link, f"{forgers}:naps")
        forger = spawn(link, f"{forgers}:forges", victim)
        ended = wait(link, forger)
        assert ended.status == "worker_lost" or value_of(ended) == "EPERM"
        assert value_of(wait(link, victim)) == "rested"


def test_a_handle_of_another_process_opens_nothing(up: KernelProcess, forgers: str) -> None:
    with unharmed(up), up.link() as link:
        mine = link.call(context.OPEN, context.Open()).context
        thief = spawn(link, f"{forgers}:borrows", mine, rights=("model:*", "context:own", "process:children"))
        assert value_of(wait(link, thief)) == ["EPERM"] * 4
        guess = spawn(link, f"{forgers}:borrows", 2**40, rights=("model:*", "context:own"))
        assert value_of(wait(link, guess)) == ["ENOENT"] * 4
        assert link.call(context.STAT, context.Stat(context=mine)).turns == 0


def test_a_pid_that_is_not_ones_own_is_out_of_reach(up: KernelProcess, forgers: str) -> None:
    with unharmed(up), up.link() as link:
        victim = spawn(link, f"{forgers}:naps")
        rude = spawn(link, f"{forgers}:reaches", victim, rights=("process:children", "model:*"))
        heard = value_of(wait(link, rude))
        no_such_pid, group_one = heard[5:]
        assert heard[:5] == ["EPERM"] * 5
        assert no_such_pid in ("ESRCH", "EINVAL")
        assert group_one in ("EPERM", "ESRCH"), "somebody else's group, as long as there is somebody in it"
        assert value_of(wait(link, victim)) == "rested"
