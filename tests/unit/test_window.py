"""The window: never above the limit, never less than it must show, one compaction down to the low-water mark."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.mm.page import pending, size_of
from kernel.mm.window import (
    PAIR_MAX,
    SHORTEST,
    STUB_BYTES,
    Entry,
    EntryKind,
    Item,
    Plan,
    Window,
    _units,
    plan,
    shortened,
    stub_of,
)
from syscalls.turns import Image, Text, ToolCall, Turn, assistant, system, tool, user

ITEMS = st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.integers(0, 4).map(lambda n: n == 0)), max_size=30)


def items_of(drawn: list[tuple[int, bool, bool]], newest: int) -> list[Item]:
    """Items whose units are runs; the last `newest` of them are the newest exchange."""
    made: list[Item] = []
    unit = -1
    edge = len(drawn) - newest
    for at, (tokens, joined, pinned) in enumerate(drawn):
        unit += not joined or at in (0, edge)
        made.append(Item(tokens, unit, pinned=pinned, newest=at >= edge))
    return made


def left_of(items: list[Item], evict: tuple[int, ...], shorten: tuple[tuple[int, int], ...], fixed: int) -> int:
    short = dict(shorten)
    return fixed + sum(short.get(at, item.tokens) for at, item in enumerate(items) if at not in set(evict))


@settings(max_examples=300)
@given(
    drawn=ITEMS,
    newest=st.integers(0, 4),
    fixed=st.integers(0, 50),
    limit=st.integers(1, 3000),
    high=st.floats(0.5, 1.0),
    low=st.floats(0.1, 0.5),
)
def test_what_is_left_is_at_most_the_limit_or_nothing_would_be(
    drawn: list[tuple[int, bool, bool]], newest: int, fixed: int, limit: int, high: float, low: float
) -> None:
    items = items_of(drawn, newest)
    decided = plan(items, fixed=fixed, stub=STUB_BYTES, limit=limit, high=int(high * limit), low=int(low * limit))
    left = left_of(items, decided.evict, decided.shorten, fixed) + (STUB_BYTES if decided.evict else 0)
    assert left == decided.tokens
    if decided.fits:
        assert left <= limit
    else:
        least = sum(
            item.tokens if item.pinned else min(item.tokens, SHORTEST) for item in items if item.pinned or item.newest
        )
        assert fixed + least + STUB_BYTES > limit
    assert not any(items[at].pinned or items[at].newest for at in decided.evict)
    assert all(items[at].newest and not items[at].pinned for at, _ in decided.shorten)


@settings(max_examples=300)
@given(drawn=ITEMS, newest=st.integers(0, 4), limit=st.integers(1, 3000))
def test_eviction_is_oldest_first_whole_units_and_no_further_than_the_low_mark(
    drawn: list[tuple[int, bool, bool]], newest: int, limit: int
) -> None:
    items = items_of(drawn, newest)
    high, low = int(0.9 * limit), int(0.6 * limit)
    decided = plan(items, fixed=0, stub=0, limit=limit, high=high, low=low)
    gone = {items[at].unit for at in decided.evict}
    evictable = sorted({item.unit for item in items if not item.newest and not item.pinned})
    assert sorted(gone) == evictable[: len(gone)]
    for at, item in enumerate(items):
        if item.unit in gone and not item.pinned and not item.newest:
            assert at in decided.evict
    if sum(item.tokens for item in items) <= high:
        assert decided.idle
    elif gone:
        last = max(gone)
        returned = sum(items[at].tokens for at in decided.evict if items[at].unit == last)
        shortened = {at for at, item in enumerate(items) if item.newest and not item.pinned}
        most = {
            at: min(item.tokens, max(1, limit // 4)) if at in shortened else item.tokens
            for at, item in enumerate(items)
        }
        before = sum(most[at] for at in range(len(items)) if at not in decided.evict or items[at].unit == last)
        assert before > low or returned == 0


def test_the_line_for_what_is_gone_keeps_to_its_bound() -> None:
    assert size_of(system("\n" + stub_of(10**9))) <= STUB_BYTES


def test_nothing_happens_below_the_high_mark() -> None:
    items = [Item(10, unit) for unit in range(9)]
    assert plan(items, fixed=0, stub=5, limit=100, high=90, low=60).idle


def window_of(*turns: Turn) -> Window:
    window = Window()
    for at, turn in enumerate(turns):
        window.entries.append(Entry(turn, position=at))
    return window


def test_system_and_the_users_last_turn_are_pinned_and_a_call_stays_with_its_results() -> None:
    window = window_of(
        system("be brief"),
        user("one"),
        assistant("", ToolCall("f", {})),
        tool("result"),
        user("two"),
        assistant("done"),
    )
    items = window.items()
    assert [item.pinned for item in items] == [True, False, False, False, True, False]
    assert items[2].unit == items[3].unit
    assert len({item.unit for item in items}) == 5
    assert [item.newest for item in items] == [False] * 5 + [True]


def test_a_page_that_was_faulted_in_is_not_the_newest_exchange() -> None:
    window = window_of(user("what?"), assistant("", ToolCall("recall", {})), tool("found"))
    window.entries.append(Entry(tool("a page"), kind="recall", pages=("p",)))
    assert [item.newest for item in window.items()] == [False, True, True, False]


def test_what_is_gone_is_told_in_the_first_system_turn_or_in_one_of_its_own() -> None:
    with_system = window_of(system("be brief"), user("x" * 50), user("now"))
    without = window_of(user("x" * 50), user("now"))
    for window in (with_system, without):
        at = len(window.entries) - 2
        evicted = window.apply(plan(window.items(), fixed=0, stub=0, limit=80, high=60, low=70))
        assert [entry.position for entry in evicted] == [at]
        assert window.turns()[0].role == "system"
        assert "1 earlier turns are not shown" in window.turns()[0].text
        assert window.turns()[-1] == user("now")
    assert len(with_system.turns()) == 2
    assert with_system.turns()[0].text.startswith("be brief\n")


def test_counts_of_a_driver_go_to_their_turns() -> None:
    window = window_of(user("x"), assistant("y"))
    assert window.measure((3, 10, 20, 4)) == 37
    assert ([entry.tokens for entry in window.entries], window.fixed, window.tokens) == ([10, 20], 7, 37)
    window.gone_turns = 5
    assert window.measure((3, 6, 10, 20, 4)) == 43
    assert window.tokens == 43


TEXT_TURNS = st.lists(
    st.one_of(st.builds(Text, st.text(st.characters(codec="utf-8"), max_size=500)), st.just(Image(b"x"))), max_size=3
).map(lambda parts: Turn("tool", tuple(parts)))


@given(turn=TEXT_TURNS, bytes_max=st.integers(0, 800))
def test_a_body_that_is_shortened_is_shorter_and_says_so(turn: Turn, bytes_max: int) -> None:
    short = shortened(turn, bytes_max)
    assert size_of(short) <= max(size_of(turn), bytes_max)
    if size_of(short) > bytes_max:
        floor = sum(80 for part in turn.parts if isinstance(part, Text))
        fixed = size_of(turn) - sum(len(part.text.encode()) for part in turn.parts if isinstance(part, Text))
        assert size_of(short) <= fixed + floor
    assert len(short.parts) == len(turn.parts)


def test_head_and_tail_of_a_long_result_are_shown() -> None:
    short = shortened(tool("BEGIN" + "x" * 10_000 + "END"), 400)
    assert short.text.startswith("BEGIN")
    assert short.text.endswith("END")
    assert "bytes are not shown; context.recall finds them" in short.text
    assert size_of(short) <= 400


def test_a_fork_of_a_window_is_independent() -> None:
    window = window_of(user("a"))
    window.measure((1, 5, 1))
    fork = window.copy()
    fork.entries[0].tokens = 99
    fork.entries.append(Entry(user("b")))
    assert (window.tokens, len(window.entries)) == (7, 1)


class Walked(list[Entry]):
    """Counts how often it was walked."""

    walks = 0

    def __iter__(self) -> Iterator[Entry]:
        self.walks += 1
        return super().__iter__()


def test_what_a_window_takes_is_added_up_once_after_each_change() -> None:
    window = Window()
    window.entries = walked = Walked(Entry(user("a")) for _ in range(3))
    assert window.tokens == window.tokens == 3 * size_of(user("a")) and walked.walks == 1
    window.recount(window.entries[:1], (100,))
    assert window.tokens == window.tokens == 100 + 2 * size_of(user("a")) and walked.walks == 2
    window.entries.append(Entry(user("b")))
    assert window.tokens == 100 + 3 * size_of(user("a"))
    window.measure((1, 5, 6, 7, 8, 1))
    assert window.tokens == 28
    window.apply(Plan(evict=(0,)))
    window.entries.append(Entry(user("b")))
    assert window.tokens == 23 + size_of(user("b"))


SAID = st.sampled_from(
    (user("q"), tool("r"), assistant("", *(ToolCall("t", {}),) * 2), assistant("", ToolCall("t", {})))
)


@given(said=st.lists(st.tuples(SAID, st.sampled_from(("turn", "turn", "recall")), st.sampled_from((1, 2, PAIR_MAX)))))
def test_units_are_as_if_each_result_had_looked_back_for_its_call(said: list[tuple[Turn, EntryKind, int]]) -> None:
    entries = [Entry(turn, kind=kind) for turn, kind, times in said for _ in range(times)]
    unit, expected = -1, []
    for at, entry in enumerate(entries):
        before = [each.turn for each in entries[max(0, at - PAIR_MAX) : at] if each.kind == "turn"]
        unit += not (entry.kind == "turn" and entry.turn.role == "tool" and pending(before) > 0)
        expected.append(unit)
    assert _units(entries) == expected


class Parts(tuple[ToolCall, ...]):
    """Counts how often they were walked."""

    walks = 0

    def __iter__(self) -> Iterator[ToolCall]:
        type(self).walks += 1
        return super().__iter__()


def test_a_call_is_looked_at_once_however_many_results_it_has() -> None:
    calls = Turn("assistant", Parts(ToolCall("t", {}) for _ in range(100)))
    Parts.walks = 0
    assert _units([Entry(calls), *(Entry(tool("r")) for _ in range(60))]) == [0] * 61
    assert Parts.walks == 2, "its size, and its calls"
