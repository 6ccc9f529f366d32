"""Capabilities without a kernel: whatever is spawned, made narrower, given, revoked and ended, in whatever order, a
child holds no more than its parent, and what is revoked takes all that was made from it."""

import gc
import re
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel.capability import FOUND_CHARS_MAX, Capability, Held, how_to_grant
from kernel.derivation import DEPTH_MAX, HELD_MAX, LOOSE_MAX, Capabilities
from syscalls.errors import Invalid, PermissionDenied, TryAgain
from syscalls.rights import Right, parse_rights, uncovered

WIDE = Right("**")
RIGHTS = parse_rights(
    ["**", "model:*", "model:* embed", "model:sim", "file:/a/** read", "file:/a/b/** read", "file:/a/b/c read"]
)
PROBES = (("generate", "model:sim"), ("embed", "model:other"), ("read", "file:/a/b/c"), ("kill", "process:1"))


class Who:
    """A process, as far as capabilities know one."""

    def __init__(self, pid: int, parent: "Who | None", held: Held) -> None:
        self.pid = pid
        self.parent = parent
        self.held = held
        self.kind = "program"
        self.name = "who"
        self.children: dict[int, Who] = {}
        if parent is not None:
            parent.children[pid] = self


class Call:
    """A call under way."""

    def __init__(self, holder: Who) -> None:
        self.holder = holder
        self.admitted: tuple[Capability, ...] = ()
        self.why = ""

    def withdraw(self, capability: Capability, why: str) -> None:
        self.why = why


class World:
    """A table, a clock, and the first process."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[tuple[str, str]] = []
        self.table = Capabilities(lambda: self.now, lambda event, which, why: self.told.append((event, which.text)))
        self.init = Who(1, None, self.table.origin(1, (WIDE,)))
        self.next = 2

    def spawn(self, parent: Who, *rights: str) -> Who:
        given = parse_rights(rights) if rights else parent.held.rights
        child = Who(self.next, parent, self.table.inherit(parent, self.next, given))
        self.next += 1
        return child

    def give(self, giver: Who, to: Who, right: str, **limits: Any) -> Capability:
        wanted = Right.parse(right)
        return self.table.derive(giver, self.table.mine(giver, 0, wanted), to, wanted, **limits)


def may(who: Who, action: str, name: str) -> bool:
    return who.held.find(action, (name,)) is not None


def test_what_is_handed_on_as_it_is_is_shared_until_somebody_must_tell_it_apart() -> None:
    world = World()
    parent = world.spawn(world.init, "model:*", "file:/a/** read")
    children = [world.spawn(parent) for _ in range(3)]
    assert all(child.held is parent.held for child in children), "no record for each child"
    theirs = world.table.owned(children[0])
    assert {each.holder for each in children[0].held} == {children[0].pid}
    world.table.revoke(next(each for each in theirs if each.text == "model:*"), "for one alone")
    assert not may(children[0], "generate", "model:sim") and may(children[0], "read", "file:/a/x")
    assert may(children[1], "generate", "model:sim") and may(parent, "generate", "model:sim")


def test_a_revocation_takes_what_was_made_from_it_and_leaves_what_was_not() -> None:
    world = World()
    parent = world.spawn(world.init, "model:*", "file:/a/** read")
    child = world.spawn(parent, "model:sim generate")
    grandchild = world.spawn(child)
    assert all(may(each, "generate", "model:sim") for each in (parent, child, grandchild)), "now it is remembered"
    model = world.table.mine(parent, 0, Right.parse("model:*"))
    assert world.table.revoke(model, "enough") >= 2
    assert not may(child, "generate", "model:sim") and not may(grandchild, "generate", "model:sim")
    assert may(parent, "read", "file:/a/x"), "another right of the same process"
    assert not may(parent, "embed", "model:sim")


def test_what_a_sharing_parent_loses_its_children_lose_too() -> None:
    """Parent, child and grandchild hold one record of the grandparent's: the parent alone is told apart and revoked."""
    world = World()
    top = world.spawn(world.init, "model:*")
    parent = world.spawn(top)
    child = world.spawn(parent)
    grandchild = world.spawn(child, "model:sim")
    (mine,) = world.table.owned(parent)
    world.table.revoke(mine, "")
    assert may(top, "generate", "model:sim")
    assert [may(each, "generate", "model:sim") for each in (parent, child, grandchild)] == [False] * 3


def test_a_handle_made_below_a_sharing_parent_falls_with_that_parent() -> None:
    world = World()
    parent = world.spawn(world.init, "model:*")
    middle = world.spawn(parent)
    child = world.spawn(middle)
    world.give(child, child, "model:sim")
    (theirs,) = world.table.owned(middle)
    world.table.revoke(theirs, "")
    assert not may(child, "generate", "model:sim")


def test_what_is_given_past_a_parent_falls_with_the_parent_s() -> None:
    world = World()
    parent = world.spawn(world.init, "model:*", "process:self")
    child = world.spawn(parent, "process:self")
    world.give(world.init, child, "model:sim")
    assert may(child, "generate", "model:sim")
    world.table.revoke(world.table.mine(parent, 0, Right.parse("model:*")), "")
    assert not may(child, "generate", "model:sim"), "a child would hold what its parent lost"


def test_nobody_is_given_what_its_parent_lacks() -> None:
    world = World()
    parent = world.spawn(world.init, "model:*")
    child = world.spawn(parent, "model:sim")
    with pytest.raises(PermissionDenied, match=r"kernos grant 2 'file:/a/\*\* read'"):
        world.give(world.init, child, "file:/a/** read")
    with pytest.raises(PermissionDenied, match="a child cannot have"):
        world.spawn(parent, "file:/a/** read")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("program", r"^grant it with --allow 'model:a read', or now with: kernos grant 1 'model:a read'$"),
        (
            "session",
            r"get one made with --allow 'model:a read' \(kernos credential new, kernos cert issue\); a session th",
        ),
        (
            "tool",
            r"^grant it in \[tools.who\] of kernos.toml: rights = \[\"model:a read\"\]; or now with: kernos grant 1",
        ),
    ],
)
def test_how_to_grant_depends_on_where_the_rights_come_from(kind: str, told: str) -> None:
    holder = World().init
    holder.kind = kind
    assert re.search(told, how_to_grant(holder, Right.parse("model:a read")))


def test_what_was_given_stays_when_the_giver_ends_and_can_still_be_taken_from_above() -> None:
    world = World()
    top = world.spawn(world.init, "model:*", "process:self")
    giver = world.spawn(top)
    other = world.spawn(top, "process:self")
    world.give(giver, other, "model:sim")
    del top.children[giver.pid], giver
    gc.collect()
    assert may(other, "generate", "model:sim")
    world.table.revoke(world.table.mine(top, 0, Right.parse("model:*")), "")
    assert not may(other, "generate", "model:sim")


def test_the_end_of_a_process_leaves_nothing_in_the_table() -> None:
    world = World()
    before = len(world.table)
    parent = world.spawn(world.init, "model:*")
    for _ in range(50):
        child = world.spawn(parent, "model:sim")
        world.give(child, child, "model:sim embed", life_s=100.0)
        del parent.children[child.pid], child
    world.init.children.clear()
    del parent
    gc.collect()
    assert len(world.table) == before


def test_uses_count_for_all_that_was_made_from_it() -> None:
    world = World()
    parent = world.spawn(world.init, "process:self")
    world.give(world.init, parent, "model:*", uses=3)
    child = world.spawn(parent, "model:sim")
    for each in (parent, child, child):
        found = each.held.find("generate", ("model:sim",))
        assert found is not None
        world.table.use(found)
    assert not may(parent, "generate", "model:sim") and not may(child, "generate", "model:sim")


def test_a_right_without_limits_is_used_before_one_that_has_them() -> None:
    world = World()
    process = world.spawn(world.init, "process:self")
    limited = world.give(world.init, process, "model:*", uses=1)
    lasting = world.give(world.init, process, "model:sim")
    assert process.held.find("generate", ("model:sim",)) is lasting
    assert process.held.find("generate", ("model:other",)) is limited


def test_expiry_ends_calls_under_way_and_what_was_made_from_it() -> None:
    world = World()
    parent = world.spawn(world.init, "process:self")
    world.give(world.init, parent, "model:*", life_s=10.0)
    child = world.spawn(parent, "model:sim")
    call = Call(child)
    found = child.held.find("generate", ("model:sim",))
    assert found is not None and found.expires_s == 10.0 == world.table.next_deadline_s
    world.table.follow((found,), call)
    world.now = 9.9
    assert may(child, "generate", "model:sim") and not call.why
    world.now = 10.0
    assert not may(child, "generate", "model:sim") and "expired" in call.why
    assert ("expire", "model:*") in world.told


def test_calls_move_with_the_record_that_lets_them_in() -> None:
    world = World()
    parent = world.spawn(world.init, "model:*")
    child, other = world.spawn(parent), world.spawn(parent)
    calls = [Call(child), Call(other)]
    for call in calls:
        found = call.holder.held.find("generate", ("model:sim",))
        assert found is not None
        world.table.follow((found,), call)
    (theirs,) = world.table.owned(child)
    world.table.revoke(theirs, "it misbehaved")
    assert ["misbehaved" in call.why for call in calls] == [True, False]


def test_a_call_that_has_ended_is_told_nothing() -> None:
    world = World()
    process = world.spawn(world.init, "model:*")
    found, call = process.held.find("generate", ("model:sim",)), Call(process)
    assert found is not None
    world.table.follow((found,), call)
    world.table.leave(call)
    world.table.revoke(found, "")
    assert not call.why


def test_another_s_number_is_none_of_yours() -> None:
    world = World()
    one, other = world.spawn(world.init, "model:*"), world.spawn(world.init, "model:*")
    (theirs,) = world.table.owned(other)
    for number in (theirs.id, 999, -1):
        with pytest.raises(PermissionDenied, match="none that process 2 holds"):
            world.table.mine(one, number, None)
    assert not world.table.below(one, theirs.id) and world.table.below(other, theirs.id)
    assert world.table.below(world.init, theirs.id), "it was made from init's"


@pytest.mark.parametrize(
    ("limits", "bad"),
    [
        ({"life_s": 0.0}, "a life of"), ({"life_s": -1.0}, "a life of"), ({"life_s": float("nan")}, "a life of"),
        ({"life_s": float("inf")}, "a life of"), ({"uses": 0}, "uses"), ({"uses": -3}, "uses"),
    ],
)  # fmt: skip
def test_limits_that_are_none_are_refused(limits: dict[str, Any], bad: str) -> None:
    world = World()
    with pytest.raises(Invalid, match=bad):
        world.give(world.init, world.spawn(world.init, "model:*"), "model:*", **limits)


def test_tables_are_bounded() -> None:
    world = World()
    process = world.spawn(world.init, "model:*")
    for _ in range(HELD_MAX - 1):
        world.give(process, process, "model:sim")
    with pytest.raises(TryAgain, match="holds"):
        world.give(process, process, "model:sim")
    deep = world.spawn(world.init, "model:*")
    with pytest.raises(TryAgain, match="deep"):
        for _ in range(DEPTH_MAX + 1):
            deep = world.spawn(deep, "model:*")
            world.table.owned(deep)


def test_only_short_names_are_remembered() -> None:
    world = World()
    held = world.init.held
    for at in range(3):
        assert may(world.init, "publish", f"topic:{at}" + "x" * FOUND_CHARS_MAX)
    assert may(world.init, "publish", "topic:news")
    assert list(held._found) == [("publish", ("topic:news",))]


def test_a_long_line_of_processes_that_share_is_no_danger() -> None:
    world = World()
    process = world.spawn(world.init, "model:*")
    for _ in range(3000):
        process = world.spawn(process)
    with pytest.raises(TryAgain, match="deep"):
        world.table.owned(process)
    world.table.check(process)


class Interleavings(RuleBasedStateMachine):
    """Spawns, gifts, narrower handles, revocations, uses, expiries and ends, against a model that knows only the
    invariant: whatever a process may do, each of its ancestors may."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.alive: list[Who] = [self.world.init]
        self.revoked: list[tuple[Capability, list[Capability]]] = []

    def pick(self, number: int) -> Who:
        return self.alive[number % len(self.alive)]

    @rule(at=st.integers(0, 99), rights=st.lists(st.sampled_from(RIGHTS), max_size=3), same=st.booleans())
    def spawn(self, at: int, rights: list[Right], same: bool) -> None:
        if len(self.alive) > 12:
            return
        parent = self.pick(at)
        try:
            child = self.world.spawn(parent, *() if same else [str(right) for right in rights])
        except PermissionDenied:
            assert uncovered(rights, parent.held.rights)
            return
        assert same or set(child.held.rights) == set(rights) or not rights
        self.alive.append(child)

    @rule(
        giver=st.integers(0, 99), to=st.integers(0, 99), right=st.sampled_from(RIGHTS),
        life_s=st.sampled_from([None, 1.0, 5.0]), uses=st.sampled_from([None, 1, 3]),
    )  # fmt: skip
    def give(self, giver: int, to: int, right: Right, life_s: float | None, uses: int | None) -> None:
        one, other = self.pick(giver), self.pick(to)
        if other is self.world.init:
            return
        try:
            self.world.give(one, other, str(right), life_s=life_s, uses=uses)
        except PermissionDenied:
            parent = other.parent
            assert uncovered([right], one.held.rights) or (
                one is not other and parent is not None and uncovered([right], parent.held.rights)
            )
            return
        assert not uncovered([right], other.held.rights)

    @rule(at=st.integers(0, 99), which=st.integers(0, 9))
    def revoke(self, at: int, which: int) -> None:
        process = self.pick(at)
        owned = self.world.table.owned(process)
        if process is self.world.init or not owned:
            return
        fallen = owned[which % len(owned)]
        below = [each for who in self.alive for each in who.held if each.descends_from(fallen)]
        self.world.table.revoke(fallen, "")
        assert not any(each.alive for each in below)

    @rule(at=st.integers(0, 99))
    def tell_apart(self, at: int) -> None:
        process = self.pick(at)
        before = process.held.rights
        assert all(each.holder == process.pid for each in self.world.table.owned(process))
        assert set(process.held.rights) == set(before)

    @rule(at=st.integers(0, 99), probe=st.sampled_from(PROBES))
    def use(self, at: int, probe: tuple[str, str]) -> None:
        found = self.pick(at).held.find(probe[0], (probe[1],))
        if found is not None:
            self.world.table.use(found)

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    @precondition(lambda self: len(self.alive) > 1)
    @rule(at=st.integers(0, 99))
    def end(self, at: int) -> None:
        """It ends; its children go to init."""
        process = self.alive[1 + at % (len(self.alive) - 1)]
        self.alive.remove(process)
        assert process.parent is not None
        del process.parent.children[process.pid]
        for child in process.children.values():
            child.parent = self.world.init
            self.world.init.children[child.pid] = child

    @invariant()
    def a_child_holds_no_more_than_its_parent(self) -> None:
        for process in self.alive:
            self.world.table.check(process)
            parent = process.parent
            if parent is None:
                continue
            assert not uncovered(process.held.rights, parent.held.rights)
            for action, name in PROBES:
                assert not may(process, action, name) or may(parent, action, name)


Interleavings.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
TestInterleavings = Interleavings.TestCase


def test_a_process_holds_so_many_rights_as_can_be_compared_with_each_others() -> None:
    """A thousand children with eight hundred rights each held up the kernel for minutes."""
    world = World()
    parent = world.spawn(world.init, "topic:**")
    with pytest.raises(Invalid, match="257 rights"):
        world.spawn(parent, *(f"topic:{n}" for n in range(HELD_MAX + 1)))
    texts = [f"topic:{n}" for n in range(HELD_MAX)]
    narrow = world.spawn(parent, *texts)
    child = world.spawn(narrow, *texts[1:])
    found = narrow.held.covering(Right("topic:1"))
    assert found is not None and narrow.held.covering(Right("topic:1")) is found
    world.table.revoke(found, "gone")
    assert narrow.held.covering(Right("topic:1")) is None, "as long as it is there"
    assert not may(child, "call", "topic:1") and may(child, "call", "topic:2")


def test_a_process_holds_few_rights_that_take_a_walk_along_a_name() -> None:
    """A thousand of them, and a name of eight thousand characters that none of them allows, took seconds for one
    call."""
    world = World()
    parent = world.spawn(world.init, "topic:**")
    with pytest.raises(Invalid, match="65 rights with a wildcard in their midst"):
        world.spawn(parent, *(f"topic:*{n}" for n in range(LOOSE_MAX + 1)))
    child = world.spawn(parent, "topic:*a*x", *(f"topic:{n}/**" for n in range(100)))
    for _ in range(LOOSE_MAX - 1):
        world.give(child, child, "topic:*a*x")
    with pytest.raises(TryAgain, match="wildcard in their midst"):
        world.give(child, child, "topic:*a*x")
    world.give(child, child, "topic:1/*")


def test_records_of_ones_own_for_all_that_one_holds_take_one_walk_over_who_shares_them() -> None:
    """A walk for each of hundreds of them, over thousands of children, held up the kernel for half a minute."""
    world = World()
    parent = world.spawn(world.init, *(f"topic:{n}" for n in range(250)))
    middle = world.spawn(parent)
    shares = world.spawn(middle)
    below = [world.spawn(shares, *(f"topic:{n}" for n in range(1, 250))) for _ in range(1000)]
    call, other = Call(below[0]), Call(parent)
    first = next(iter(below[0].held))
    world.table.follow((first,), call)
    world.table.follow((first,), other)
    began_s = time.process_time()
    owned = world.table.owned(shares)
    assert time.process_time() - began_s < 0.7, "2 s with a walk for each"
    assert {each.holder for each in owned} == {shares.pid} and len(owned) == 250
    assert {each.holder for each in middle.held} == {middle.pid}, "who shared it with them has its own first"
    assert set(below[0].held) == set(owned) - {owned[0]}, "who shares theirs holds the new ones"
    assert call.admitted == (next(iter(below[0].held)),) and other.admitted == (first,)
    for who in (middle, shares, below[0]):
        world.table.check(who)
    world.table.revoke(first, "gone")
    assert call.why and other.why and not may(below[9], "call", first.right.resource)
