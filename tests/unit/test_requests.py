"""Rights asked for at run time: who answers, what silence means, and that neither a restart nor a name changes it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
from msgspec import Raw

from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.config import RequestsConfig
from kernel.permission import OPERATOR
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.requests import OF_ONE_PROCESS_MAX, Requests
from kernel.seal import Seals
from kernel.truth import Truth
from kernel.watch.trace import Trace
from kernos import Sys, program
from kernos.testing import up
from syscalls.calls import capability, message
from syscalls.errors import Invalid, NotFound, PermissionDenied, TryAgain
from syscalls.rights import NAME_CHARS_MAX, Right

NET = Right.parse("net:https://example.org/** get")


class Life:
    """One life of a kernel, as far as requests know one; the truth and the keys outlive it."""

    def __init__(self, truth: Truth, seals: Seals, **config: Any) -> None:
        self.clock = Clock()
        self.trace = Trace(self.clock, 1000)
        self.processes = ProcessTable(clock=self.clock, trace=self.trace, processes_max=100)
        self.requests = Requests(
            RequestsConfig(**config), clock=self.clock, trace=self.trace, truth=truth, seals=seals,
            processes=self.processes,
        )  # fmt: skip
        self.accounts = Accounts(self.clock.now)
        self.root = self.accounts.open(None, name="root", principal="kernel")
        self.init = self.processes.add(
            parent=None, principal="kernel", kind="session", name="kernos", account=self.root, rights=OPERATOR
        )

    def program(self, image: str = "/srv/agent.py:main", *, principal: str = "ann", name: str = "agent") -> Process:
        return self.processes.add(
            parent=self.init, principal=principal, kind="program", name=name, account=self.root, rights=(), image=image
        )

    def pending(self) -> list[capability.RequestInfo]:
        return [each for each in self.requests.changed_since(0) if each.state == "pending"]

    def kinds(self) -> list[str]:
        return [record.kind for record in self.trace.since(0)]


@pytest.fixture
def truth() -> Iterator[Truth]:
    kept = Truth.in_memory()
    yield kept
    kept.close()


@pytest.fixture
def seals() -> Seals:
    return Seals(None)


async def test_policy_answers_at_once_and_deny_goes_before_allow(truth: Truth, seals: Seals) -> None:
    life = Life(truth, seals, allow=("net:https://example.org/** get", "file:/srv/**"), deny=("file:/srv/secret/**",))
    process = life.program()
    given = await life.requests.ask(process, NET, reason="to read")
    assert given.holder == process.pid and process.rights == (NET,)
    for denied in ("file:/srv/secret/x read", "file:/srv/** read"):
        with pytest.raises(PermissionDenied, match=r"deny 'file:/srv/secret/\*\*' in \[requests\] of kernos.toml"):
            await life.requests.ask(process, Right.parse(denied), reason="")
    assert life.kinds()[-3:] == ["grant", "refuse", "refuse"]


async def test_what_is_held_is_given_at_once(truth: Truth, seals: Seals) -> None:
    life = Life(truth, seals)
    assert (await life.requests.ask(life.init, NET, reason="")).text == "**"


async def test_silence_is_no(truth: Truth, seals: Seals, autojump_clock: Any) -> None:
    life = Life(truth, seals)
    process = life.program()
    with pytest.raises(PermissionDenied, match=r"nobody answered request 1 within 7 s.*kernos grant 2 'net:"):
        await life.requests.ask(process, NET, reason="please", wait_s=7.0)
    assert life.clock.now() == pytest.approx(7.0) and process.rights == ()
    await life.requests.boot()
    assert not life.pending()


@pytest.mark.parametrize("allow", [True, False])
async def test_the_operator_answers(truth: Truth, seals: Seals, allow: bool, autojump_clock: Any) -> None:
    life = Life(truth, seals)
    process, outcome = life.program(), []

    async def ask() -> None:
        try:
            outcome.append((await life.requests.ask(process, NET, reason="to read")).text)
        except PermissionDenied as refused:
            outcome.append(refused.message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        (info,) = life.pending()
        assert (info.reason, info.waiting, info.program, info.name) == ("to read", 1, "/srv/agent.py:main", "agent")
        await life.requests.answer(info.request, allow, always=False, by=life.init)
    assert outcome == [str(NET)] if allow else "was denied" in outcome[0]
    assert process.rights == ((NET,) if allow else ())
    again = life.program()
    with pytest.raises(PermissionDenied, match="nobody answered"):
        await life.requests.ask(again, NET, reason="", wait_s=1)


async def test_an_answer_for_good_stands_for_that_program_alone(
    truth: Truth, seals: Seals, autojump_clock: Any
) -> None:
    life = Life(truth, seals)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: life.requests.ask(life.program(), NET, reason=""))
        await trio.sleep(1)
        await life.requests.answer(1, True, always=True, by=life.init)
    later = Life(truth, seals)
    await later.requests.boot()
    same = later.program(name="renamed")
    assert (await later.requests.ask(same, NET, reason="")).right == NET
    impostor = later.program("/tmp/evil.py:main", name="agent")
    stranger = later.program(principal="bob")
    for other in (impostor, stranger):
        with pytest.raises(PermissionDenied):
            await later.requests.ask(other, NET, reason="", wait_s=1)
    await later.requests.forget(1, by=later.init)
    with pytest.raises(PermissionDenied):
        await later.requests.ask(later.program(), NET, reason="", wait_s=1)


async def test_a_request_outlives_the_kernel_and_its_answer_waits_for_the_program(
    truth: Truth, seals: Seals, autojump_clock: Any
) -> None:
    life = Life(truth, seals)
    with trio.move_on_after(5):
        await life.requests.ask(life.program(), NET, reason="before the crash", wait_s=1000)
    later = Life(truth, seals)
    await later.requests.boot()
    (info,) = later.pending()
    assert (info.reason, info.waiting) == ("before the crash", 0)
    await later.requests.answer(info.request, True, always=False, by=later.init)
    last = Life(truth, seals)
    await last.requests.boot()
    process = last.program()
    assert (await last.requests.ask(process, NET, reason="")).holder == process.pid
    with pytest.raises(PermissionDenied):
        await last.requests.ask(last.program(), NET, reason="", wait_s=1)  # it was for once


async def test_a_request_that_was_cancelled_is_asked_again_under_its_number(
    truth: Truth, seals: Seals, autojump_clock: Any
) -> None:
    life = Life(truth, seals)
    for _ in range(3):
        with trio.move_on_after(1):
            await life.requests.ask(life.program(), NET, reason="", wait_s=100)
    assert [each.request for each in life.pending()] == [1]
    assert life.pending()[0].waiting == 0


async def test_what_is_kept_is_sealed(truth: Truth, seals: Seals, autojump_clock: Any) -> None:
    life = Life(truth, seals)
    with trio.move_on_after(1):
        await life.requests.ask(life.program(), NET, reason="a private matter", wait_s=100)
    ((_, body),) = await truth.facts("requests")
    assert b"private" not in body and b"example.org" not in body


async def test_a_child_asks_for_nothing_that_its_parent_lacks(truth: Truth, seals: Seals) -> None:
    life = Life(truth, seals, allow=("**",))
    parent = life.program()
    child = life.processes.add(
        parent=parent, principal="ann", kind="program", name="child", account=life.root, rights=(), image="x"
    )
    with pytest.raises(PermissionDenied, match=r"its parent, process 2 \(agent\), lacks it"):
        await life.requests.ask(child, NET, reason="")
    await life.requests.ask(parent, NET, reason="")
    assert (await life.requests.ask(child, NET, reason="")).right == NET


async def test_requests_are_bounded(truth: Truth, seals: Seals, autojump_clock: Any) -> None:
    life = Life(truth, seals)
    process = life.program()
    async with trio.open_nursery() as nursery:
        for n in range(OF_ONE_PROCESS_MAX):
            nursery.start_soon(partial(life.requests.ask, process, Right.parse(f"tool:t{n}.*"), reason=""))
        await trio.sleep(1)
        with pytest.raises(TryAgain, match="wait for one"):
            await life.requests.ask(process, NET, reason="")
        nursery.cancel_scope.cancel()
    with pytest.raises(Invalid, match="a reason of"):
        await life.requests.ask(process, NET, reason="x" * 10_000)
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(Invalid, match="an answer within"):
            await life.requests.ask(process, NET, reason="", wait_s=bad)


async def test_there_is_nothing_to_answer(truth: Truth, seals: Seals) -> None:
    life = Life(truth, seals)
    with pytest.raises(NotFound, match="no request 7"):
        await life.requests.answer(7, True, always=False, by=life.init)
    with pytest.raises(NotFound, match="no request 7"):
        await life.requests.forget(7, by=life.init)


@pytest.mark.parametrize("key", ["allow", "deny"])
def test_a_pattern_that_is_none_is_refused_at_boot(key: str) -> None:
    with pytest.raises(ValueError, match="no right"):
        RequestsConfig(**{key: ("nonsense",)})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="wait_s"):
        RequestsConfig(wait_s=0)


@program
async def wants(sys: Sys) -> str:
    try:
        return (await sys.rights.request("tool:x.y call", "to see", timeout_s=60)).right
    except PermissionDenied as refused:
        return refused.message


@program
async def tries(sys: Sys) -> str:
    try:
        await sys.call("model.info", model="sim")  # inline and plain calls both wait for the answer
        await sys.call("device.list")
    except PermissionDenied as refused:
        return refused.message
    return "both"


async def test_asked_and_answered_through_the_table(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(wants, rights=())
        stream = machine.sys.stream(capability.REQUESTS, follow=True)
        info = await anext(stream)
        assert (info.pid, info.right, info.reason, info.state) == (child.pid, "tool:x.y call", "to see", "pending")
        answered = await machine.sys.call(capability.ANSWER, request=info.request, allow=True)
        assert answered.state == "allowed"
        assert await child.wait() == "tool:x.y call"
        kinds = [record.kind for record in await machine.trace()]
        assert [kind for kind in kinds if kind in ("request", "answer", "grant")] == ["request", "answer", "grant"]
        stream.close()


@pytest.mark.parametrize("allow", [True, False])
async def test_a_program_that_asks_waits_instead_of_being_refused(allow: bool, autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(tries, rights=(), ask=True)
        asked = []
        async for info in machine.sys.stream(capability.REQUESTS, follow=True):
            if info.state == "pending":
                asked.append((info.right, info.reason))
                await machine.sys.call(capability.ANSWER, request=info.request, allow=allow)
            if len(asked) == (2 if allow else 1):
                break
        told = await child.wait()
        if allow:
            assert told == "both"
            assert asked == [("model:sim info", "for model.info"), ("device:* list", "for device.list")]
        else:
            assert "was denied" in told


@program
async def asks_at_length(sys: Sys) -> str:
    """Wants a right that nobody could write down."""
    try:
        await sys.call(message.PUBLISH, topic="x" * NAME_CHARS_MAX, body=Raw(b"\xc0"))
    except Invalid as refused:
        return str(refused)
    return "served"


async def test_a_right_that_nobody_could_write_down_is_not_asked_for(autojump_clock: Any) -> None:
    async with up() as machine:
        told = await (await machine.spawn(asks_at_length, rights=(), ask=True)).wait()
        assert f"a name of {len('topic:') + NAME_CHARS_MAX} characters" in told
        assert machine.machine.requests.version == 0
