"""What the arguments of one link's calls weigh together is bounded, as bytes and as objects."""

from typing import Any

import trio
import trio.testing
from msgspec import Raw

from kernel.doors.session import Sole
from kernel.link import KernelLink
from kernel.load import ARGS_BYTES_MAX, FREE_FORM_TOTAL_MAX, Load
from kernos.testing import up
from syscalls.calls import message, model
from syscalls.codec import pack
from syscalls.errors import Errno
from syscalls.limits import CLIENT_LIMITS, FREE_FORM_BYTES_MAX, MIB
from syscalls.peer import Peer
from syscalls.turns import ToolSpec, user
from syscalls.wire import Call, Error, Frame, Hello, encode

WRITE = Raw(pack(message.Write(pipe=1, data=b"x" * (15 * MIB))))
TOOL = ToolSpec("t", parameters={"a": [{}] * (FREE_FORM_BYTES_MAX - 100)})
TOOLS = Raw(pack(model.OneShot(turns=(user("hi"),), tools=(TOOL,))))


def serving(*numbers: int) -> Peer:
    """A peer on which these calls are open."""
    peer = Peer(CLIENT_LIMITS, Hello())
    came: list[Frame] = [Hello(), *(Call(number, 0, 7) for number in numbers)]
    peer.receive(b"".join(map(encode, came)))
    return peer


def test_arguments_are_counted_until_their_call_has_ended() -> None:
    peer = serving(1, 2, 3, 4, 5)
    load = Load(peer)
    fitting = ARGS_BYTES_MAX // (15 * MIB)
    assert [load.take(Call(n, 0, message.WRITE.number, WRITE)) for n in range(1, 1 + fitting)] == [""] * fitting
    assert "wait for a call to end" in load.take(Call(5, 0, message.WRITE.number, WRITE))
    peer.reply(2, b"\xc0")
    assert load.take(Call(5, 0, message.WRITE.number, WRITE)) == ""


def test_what_becomes_objects_is_counted_by_itself() -> None:
    load = Load(serving(*range(1, 10)))
    fitting = FREE_FORM_TOTAL_MAX // FREE_FORM_BYTES_MAX
    assert [load.take(Call(n, 0, model.GENERATE.number, TOOLS)) for n in range(1, 1 + fitting)] == [""] * fitting
    assert "in fields of any shape" in load.take(Call(9, 0, model.GENERATE.number, TOOLS))
    assert load.take(Call(9, 0, message.WRITE.number, WRITE)) == "", "bytes are no objects"


def test_all_of_a_package_s_call_is_of_any_shape() -> None:
    load = Load(serving(*range(1, 10)))
    call = Raw(pack("x" * (FREE_FORM_BYTES_MAX - 100)))
    assert [load.take(Call(n, 0, "other.call", call)) for n in range(1, 9)] == [""] * 8
    assert "in fields of any shape" in load.take(Call(9, 0, "other.call", call))


def test_what_is_about_to_be_refused_is_not_told_to_wait() -> None:
    load = Load(serving(*range(1, 10)))
    nonsense = Raw(b"\x81\xa5turns" + b"\xdd" * 2000)
    assert load.take(Call(1, 0, model.GENERATE.number, nonsense)) == ""
    assert load.take(Call(2, 0, "other.call", Raw(pack("x" * FREE_FORM_TOTAL_MAX)))) == "", "the gate says EINVAL"


async def test_a_session_that_waits_with_too_much_is_told(autojump_clock: Any) -> None:
    async with up() as machine, trio.open_nursery() as nursery:
        session = machine.machine.processes.get(machine.sys.pid)
        pipe = machine.machine.pipes.make(session, 1).id
        ours, theirs = trio.testing.memory_stream_pair()
        link = KernelLink(theirs, machine._running.gate, Sole(session), hello=Hello())  # type: ignore[union-attr]
        nursery.start_soon(lambda: link.run(handshake_s=5.0))
        client = Peer(CLIENT_LIMITS, Hello())
        answers = list[Any]()
        for _ in range(6):
            client.call(message.WRITE.number, pack(message.Write(pipe=pipe, data=b"x" * (15 * MIB))))
            while client.outbox or client._bulk.held_bytes:
                await ours.send_all(bytes(client.outbox))
                client.outbox.clear()
                await trio.testing.wait_all_tasks_blocked()
                answers += client.receive(bytes(await ours.receive_some(MIB)))
        assert [frame.errno for frame in answers if isinstance(frame, Error)] == [Errno.EAGAIN] * 2
        nursery.cancel_scope.cancel()
