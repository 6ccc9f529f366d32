"""Processes: the law of their states, the table, and who is told of an end."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.derivation import Capabilities
from kernel.panic import KernelPanic
from kernel.process import Process
from kernel.process_table import INIT_PID, ProcessTable
from kernel.watch.trace import Trace
from syscalls.calls.process import Exit
from syscalls.errors import NoSuchProcess, TryAgain
from syscalls.rights import Right


def make_table(processes_max: int = 8) -> tuple[ProcessTable, Process]:
    clock = Clock()
    accounts = Accounts(clock.now)
    table = ProcessTable(clock=clock, trace=Trace(clock, 100), processes_max=processes_max)
    root = accounts.open(None, name="root", principal="op")
    init = table.add(parent=None, principal="op", kind="session", name="kernos", account=root, rights=(Right("**"),))
    return table, init


def child_of(table: ProcessTable, parent: Process, name: str = "p") -> Process:
    return table.add(
        parent=parent, principal="op", kind="program", name=name, account=parent.account, rights=parent.rights
    )


async def test_states_follow_what_a_process_is_at() -> None:
    table, init = make_table()
    process = child_of(table, init)
    seen: list[str] = [process.state]
    steps: tuple[Callable[[], None], ...] = (
        lambda: process.begin(generating=False),
        lambda: process.begin(generating=True),
        process.stop,
        process.resume,
        lambda: process.finish(generating=True),
        lambda: process.finish(generating=False),
        lambda: process.die(Exit(pid=process.pid, status="done")),
        process.stop,
    )
    for step in steps:
        step()
        seen.append(process.state)
    assert seen == ["ready", "waiting", "running", "stopped", "running", "waiting", "ready", "zombie", "zombie"]


async def test_dying_twice_is_our_contradiction_and_tells_the_story() -> None:
    table, init = make_table()
    process = child_of(table, init)
    process.die(Exit(pid=process.pid, status="done"))
    with pytest.raises(KernelPanic, match=r"ready -> zombie \(done\)"):
        process.die(Exit(pid=process.pid, status="done"))


async def test_a_zombie_waits_for_its_parent_and_is_an_orphan_no_longer_than_that() -> None:
    table, init = make_table()
    parent = child_of(table, init, "parent")
    child = child_of(table, parent, "child")
    table.ended(child, Exit(pid=child.pid, status="done"))
    assert table.get(child.pid).state == "zombie"
    table.ended(parent, Exit(pid=parent.pid, status="done"))
    with pytest.raises(NoSuchProcess):
        table.get(child.pid)
    assert table.lately(child.pid) is child, "its log can still be read"
    assert [p.pid for p in table] == [INIT_PID], "init reaps at once"


async def test_the_fairness_unit_is_the_program_not_the_helper() -> None:
    table, init = make_table()
    session = table.add(
        parent=init, principal="op", kind="session", name="session", account=init.account, rights=init.rights
    )
    crew = child_of(table, session, "crew")
    helper = child_of(table, crew, "helper")
    assert helper.program == crew.program == crew.pid
    assert child_of(table, session).program != crew.pid


async def test_a_full_table_refuses_and_recovers() -> None:
    table, init = make_table(processes_max=2)
    process = child_of(table, init)
    with pytest.raises(TryAgain, match="processes_max"):
        child_of(table, init)
    table.ended(process, Exit(pid=process.pid, status="done"))
    assert child_of(table, init).pid > process.pid, "pids are never given twice"


class States(RuleBasedStateMachine):
    """Calls, stops and ends in any order never leave the law and never lose count."""

    @rule()
    def begin_call(self) -> None:
        self.process.begin(generating=False)

    @rule()
    def begin_generation(self) -> None:
        self.process.begin(generating=True)

    @precondition(lambda self: self.process.calling > self.process.generating)
    @rule()
    def end_call(self) -> None:
        self.process.finish(generating=False)

    @precondition(lambda self: self.process.generating)
    @rule()
    def end_generation(self) -> None:
        self.process.finish(generating=True)

    @rule(stop=st.booleans())
    def signal(self, stop: bool) -> None:
        if stop:
            self.process.stop()
        else:
            self.process.resume()

    @precondition(lambda self: self.process.exit is None)
    @rule()
    def end(self) -> None:
        self.process.die(Exit(pid=2, status="killed"))

    def __init__(self) -> None:
        super().__init__()
        account = Accounts(lambda: 0.0).open(None, name="a", principal="op")
        self.process = Process(
            pid=2, parent=None, principal="op", kind="program", name="p", account=account, nice=0,
            held=Capabilities(lambda: 0.0).none, model=None, started_s=0.0,
        )  # fmt: skip

    @invariant()
    def state_is_what_it_is_at(self) -> None:
        process = self.process
        expected = (
            "zombie" if process.exit is not None
            else "stopped" if process.stopped
            else "running" if process.generating
            else "waiting" if process.calling
            else "ready"
        )  # fmt: skip
        assert process.state == expected


States.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestStates = States.TestCase
