"""One fuzz target in an OS process of its own: `python -m tests.fuzz.target NAME [libFuzzer's options]`."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import atheris

with atheris.instrument_imports(include=["syscalls", "kernel"]):
    import msgspec
    import trio
    import trio.testing
    from msgspec import Raw

    from kernel import invariants
    from kernel.doors.session import Sole
    from kernel.link import KernelLink
    from kernel.watch.tracetext import args_text, fields_text, keep_args
    from syscalls.calls.process import Exit
    from syscalls.codec import pack, parse_args
    from syscalls.errors import Errno, Invalid
    from syscalls.limits import TINY_LIMITS
    from syscalls.peer import Peer
    from syscalls.rights import parse_rights
    from syscalls.wire import Call, Cancel, Credit, Hello, WireError, encode

from kernos.testing import up
from tests.fuzz.seeds import ROWS, SYSCALLS, steps

RIGHTS = parse_rights(
    ("model:*", "context:*", "process:*", "device:*", "kernel:info", "kernel:trace", "tool:calculator.*")
)
"""What the fuzzed session may do: nothing that reads files of the machine, starts programs or stops it."""
CALLS_MAX = 16
SERVED_S = 3.0


def peer(data: bytes) -> None:
    """Bytes into a peer that calls, serves and streams: a WireError, or frames; never more kept than the limits."""
    if not data:
        return
    end = Peer(TINY_LIMITS, Hello())
    for _ in range(data[0] & 3):
        end.call(7, b"\xc0", credit=2)
    stream, cut = data[1:], 1 + (data[0] >> 2)
    for at in range(0, len(stream), cut):
        try:
            heard = end.receive(stream[at : at + cut])
        except WireError:
            assert end.closed
            break
        for frame in heard:
            if isinstance(frame, Call):
                _serve(end, frame)
        assert end.calls_open <= TINY_LIMITS.calls_max
        assert end.serving <= TINY_LIMITS.calls_max
        assert end._bulk.arriving_bytes <= TINY_LIMITS.blob_total_bytes_max
        assert len(end._frames) <= TINY_LIMITS.frame_bytes_max + 4 + cut
        end.outbox.clear()
    assert end.closed is None or end.receive(b"x") == []


def _serve(end: Peer, call: Call) -> None:
    match call.id % 4:
        case 0:
            end.reply(call.id, b"\xa3abc")
        case 1:
            end.items(call.id, [Raw(b"\x01")] * 5)
        case 2:
            end.error(call.id, Errno.EIO, "no")
        case _:
            end.end(call.id, b"\xda\x02\x00" + b"x" * 512)


def args(data: bytes) -> None:
    """Arguments of any row: typed ones that survive the wire and can be shown in the trace, or Invalid."""
    if not data:
        return
    row, raw = ROWS[data[0] % len(ROWS)], data[1:]
    try:
        parsed = parse_args(row, Raw(raw))
    except Invalid:
        args_text(row, keep_args(row, raw, None))
        return
    again = parse_args(row, Raw(pack(parsed)))
    assert _same(again, parsed), f"{row.name}: {parsed} is not {again}"
    fields_text(parsed)
    args_text(row, keep_args(row, raw, parsed))


def _same(one: Any, other: Any) -> bool:
    """Equal, or equal but for NaN."""
    return one == other or pack(one) == pack(other)


class Gate:
    """A whole kernel in a thread of its own, on a virtual clock; each input is a session that makes some calls."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._kernel = up(script=["a small cup on a ring"] * 64)
        clock = trio.testing.MockClock(autojump_threshold=0)
        self._thread = threading.Thread(target=trio.run, args=(self._live,), kwargs={"clock": clock}, daemon=True)
        self._thread.start()
        if not self._ready.wait(60):
            raise RuntimeError("the kernel did not come up")

    async def _live(self) -> None:
        async with self._kernel:
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await trio.sleep_forever()

    def __call__(self, data: bytes) -> None:
        trio.from_thread.run(self._one, data, trio_token=self._token)

    async def _one(self, data: bytes) -> None:
        machine, running = self._kernel.machine, self._kernel._running
        assert running is not None
        account = machine.accounts.open(running.init.account, name="session:fuzz", principal="fuzz")
        session = machine.processes.add(
            parent=running.init, principal="fuzz", kind="session", name="fuzz", account=account, rights=RIGHTS
        )
        ours, theirs = trio.testing.memory_stream_pair()
        link = KernelLink(theirs, running.gate, Sole(session), hello=Hello())
        newest = machine.trace.newest
        try:
            with trio.move_on_after(SERVED_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: link.run(handshake_s=1.0))
                    await ours.send_all(_session(data))
                    await trio.sleep(SERVED_S)
        finally:
            machine.contexts.release(session)
            machine.executor.orphan(session)
            machine.accounts.close(account)
            machine.processes.ended(session, Exit(pid=session.pid, status="done"))
        invariants.check(machine)
        bugs = [record.detail for record in machine.trace.since(newest) if record.kind == "bug"]
        assert not bugs, bugs


def _session(data: bytes) -> bytes:
    """Frames of a client that keeps to the protocol and says what `data` says in it."""
    frames = bytearray(encode(Hello()))
    for number, (pick, body) in enumerate(steps(data), 1):
        if number > CALLS_MAX:
            break
        row = SYSCALLS[pick % len(SYSCALLS)]
        raw = Raw(body if _is_msgpack(body) else msgspec.msgpack.encode(body))
        frames += encode(Call(number, 0, row.number, raw, 4))
        if row.streams:
            frames += encode(Credit(number, 4))
        if pick >= 240:
            frames += encode(Cancel(number, "enough"))
    return bytes(frames)


def _is_msgpack(body: bytes) -> bool:
    try:
        msgspec.msgpack.decode(body, type=Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def main(argv: list[str]) -> None:
    name, *options = argv
    targets: dict[str, Callable[[], Callable[[bytes], None]]] = {
        "peer": lambda: peer,
        "args": lambda: args,
        "gate": Gate,
    }
    atheris.Setup([sys.argv[0], *options], targets[name]())
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
