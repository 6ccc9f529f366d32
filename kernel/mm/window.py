"""The window: the log of turns that a model sees, and the pure function that keeps it within the model's length.

New turns and pages that were faulted in go to the end, so that what the engine has cached stays valid. Only when the
log passes the high-water mark it is compacted, once, down to the low-water mark, oldest first; one line at its start
says what is gone and how to ask for it. System turns and the user's last turn are never evicted. The newest exchange
is not evicted either; if it is too large (a tool that answered with a book), it is shown by head and tail. What then
does not fit, cannot: EWINDOW.

`plan` works on counts alone and is right for any input: what it leaves is at most the limit, or it says that nothing
would.
"""

from collections.abc import Sequence
from typing import Literal, final

from msgspec import Struct
from msgspec.structs import replace

from kernel.mm.eviction import Order, oldest_first
from kernel.mm.page import TURN_BYTES, results_in, size_of
from kernel.panic import KernelPanic
from syscalls.hooks import Exchange
from syscalls.turns import Text, ToolResult, Turn, system

STUB_BYTES = 96
"""Upper bound of the line that stands for what is gone; `stub_of` keeps to it."""

EntryKind = Literal["turn", "recall"]


@final
class Item(Struct, frozen=True):
    """A turn as `plan` sees it. `pinned` is never touched; items of one `unit` go together, oldest unit first but for
    those that are `unwanted`; `newest` is shortened rather than evicted."""

    tokens: int
    unit: int
    pinned: bool = False
    newest: bool = False
    unwanted: bool = False
    recalled: bool = False


@final
class Plan(Struct, frozen=True):
    """What to do: items to evict and items to shorten to so many tokens (indices); what will be left at most; and
    whether that fits."""

    evict: tuple[int, ...] = ()
    shorten: tuple[tuple[int, int], ...] = ()
    tokens: int = 0
    fits: bool = True

    @property
    def idle(self) -> bool:
        return not self.evict and not self.shorten


def plan(
    items: Sequence[Item],
    *,
    fixed: int,
    stub: int,
    limit: int,
    high: int,
    low: int,
    order: Order = oldest_first,
) -> Plan:
    """The compaction of a window of `items` and `fixed` tokens around them. Nothing to do up to `high`; past it, down
    to `low` if eviction gets there, and never above `limit`. `stub` is what the line for evicted turns may take.
    `order` sees what may be evicted, and gives every number of it once."""
    total = fixed + sum(item.tokens for item in items)
    if total <= high:
        return Plan(tokens=total, fits=total <= limit)
    shorten = tuple(
        (at, most)
        for at, item in enumerate(items)
        if item.newest and not item.pinned and item.tokens > (most := max(1, limit // 4))
    )
    total -= sum(items[at].tokens - most for at, most in shorten)
    evict: list[int] = []
    evictable = _evictable(items)
    total += stub
    for unit in order(_exchanges(items, evictable)):
        if total <= low:
            break
        gone = evictable[unit]
        evict.extend(gone)
        total -= sum(items[at].tokens for at in gone)
    if total > limit:
        shorten, total = _squeeze(items, dict(shorten), total, limit)
    if not evict:
        total -= stub
    return Plan(tuple(sorted(evict)), shorten, total, total <= limit)


def _evictable(items: Sequence[Item]) -> dict[int, list[int]]:
    """By unit, where the items are that may leave the window."""
    found: dict[int, list[int]] = {}
    for at, item in enumerate(items):
        if not item.pinned and not item.newest:
            found.setdefault(item.unit, []).append(at)
    return found


def _exchanges(items: Sequence[Item], evictable: dict[int, list[int]]) -> list[Exchange]:
    wanted = {item.unit for item in items if not item.unwanted}
    return [
        Exchange(
            number=unit,
            tokens=sum(items[at].tokens for at in places),
            turns=len(places),
            recalled=all(items[at].recalled for at in places),
            unwanted=unit not in wanted,
        )
        for unit, places in evictable.items()
    ]


def _squeeze(
    items: Sequence[Item], shorten: dict[int, int], total: int, limit: int
) -> tuple[tuple[tuple[int, int], ...], int]:
    """Shortens the newest exchange further, the largest first, until the whole fits or nothing is left to shorten."""
    sizes = {at: shorten.get(at, item.tokens) for at, item in enumerate(items) if item.newest and not item.pinned}
    for at in sorted(sizes, key=lambda at: -sizes[at]):
        if total <= limit:
            break
        most = max(min(sizes[at], SHORTEST), sizes[at] - (total - limit))
        total -= sizes[at] - most
        shorten[at] = most
    return tuple(sorted(shorten.items())), total


SHORTEST = 3 * TURN_BYTES + STUB_BYTES
"""What is left at least of a body that is shortened: the line that says so."""


@final
class Entry:
    """One turn of the window. `tokens` is exact once a driver has counted it, an upper bound before. One that is
    `pinned` is never evicted, one that is `unwanted` goes before all others."""

    __slots__ = ("kind", "pages", "pinned", "position", "tokens", "turn", "unwanted")

    def __init__(
        self, turn: Turn, *, kind: EntryKind = "turn", position: int = -1, pages: tuple[str, ...] = ()
    ) -> None:
        self.turn = turn
        self.kind: EntryKind = kind
        self.position = position
        self.pages = pages
        self.tokens = size_of(turn)
        self.pinned = False
        self.unwanted = False


@final
class Window:
    """The log and its counts. `gone_turns` of the conversation were here and are not any more."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.gone_turns = 0
        self.fixed = 0
        self._recounts = 0
        self._summed = (0, 0, 0), 0

    def turns(self) -> tuple[Turn, ...]:
        """What the model is shown: the line for what is gone is part of the first system turn, or one of its own."""
        turns = [entry.turn for entry in self.entries]
        if not self.gone_turns:
            return tuple(turns)
        line = stub_of(self.gone_turns)
        if turns and turns[0].role == "system":
            return (replace(turns[0], parts=(*turns[0].parts, Text("\n" + line))), *turns[1:])
        return (system(line), *turns)

    @property
    def tokens(self) -> int:
        """What it takes by the latest counts: added up once after a change, since `ps` asks every window there is."""
        now = len(self.entries), self.fixed, self._recounts
        if self._summed[0] != now:
            self._summed = now, self.fixed + sum(entry.tokens for entry in self.entries)
        return self._summed[1]

    @property
    def pinned_tokens(self) -> int:
        """What of it cannot be evicted because somebody pinned it; system turns never are, pinned or not."""
        return sum(entry.tokens for entry in self.entries if entry.pinned and entry.turn.role != "system")

    def measure(self, counts: Sequence[int]) -> int:
        """Takes a driver's counts of `turns()`: head, one per turn, tail. Returns their sum."""
        own = len(counts) - 2 - len(self.entries)
        if own not in (0, 1):
            raise KernelPanic(f"{len(counts)} counts for a window of {len(self.entries)} turns")
        self.recount(self.entries, counts[1 + own : -1])
        self.fixed = counts[0] + counts[-1] + sum(counts[1 : 1 + own])
        return sum(counts)

    def recount(self, entries: Sequence[Entry], counts: Sequence[int]) -> None:
        """Takes counts of some of its entries."""
        for entry, tokens in zip(entries, counts, strict=True):
            entry.tokens = tokens
        self._recounts += 1

    def items(self) -> list[Item]:
        """The window as `plan` sees it. A turn that calls tools and the results that follow are one unit."""
        turns = [entry.turn for entry in self.entries]
        last_user = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=-1)
        units = _units(self.entries)
        newest = max((unit for unit, entry in zip(units, self.entries, strict=True) if entry.kind == "turn"), default=0)
        return [
            Item(
                entry.tokens,
                units[at],
                pinned=entry.turn.role == "system" or at == last_user or entry.pinned,
                newest=units[at] == newest and entry.kind == "turn",
                unwanted=entry.unwanted,
                recalled=entry.kind == "recall",
            )
            for at, entry in enumerate(self.entries)
        ]

    def showing(self, pages: frozenset[str]) -> list[Entry]:
        """The entries that show any of `pages`, and with each the exchange that it belongs to."""
        units = _units(self.entries)
        held = {unit for unit, entry in zip(units, self.entries, strict=True) if pages.intersection(entry.pages)}
        return [entry for unit, entry in zip(units, self.entries, strict=True) if unit in held]

    def apply(self, decided: Plan) -> list[Entry]:
        """Evicts and shortens; returns the entries that are gone."""
        for at, most in decided.shorten:
            entry = self.entries[at]
            entry.turn = shortened(entry.turn, most)
            entry.tokens = min(entry.tokens, size_of(entry.turn))
        gone = set(decided.evict)
        evicted = [entry for at, entry in enumerate(self.entries) if at in gone]
        self.entries = [entry for at, entry in enumerate(self.entries) if at not in gone]
        self.gone_turns += sum(entry.kind == "turn" for entry in evicted)
        self._recounts += 1
        return evicted

    def copy(self) -> "Window":
        """Another window on the same turns, for a fork."""
        window = Window()
        for entry in self.entries:
            copied = Entry(entry.turn, kind=entry.kind, position=entry.position, pages=entry.pages)
            copied.tokens, copied.pinned, copied.unwanted = entry.tokens, entry.pinned, entry.unwanted
            window.entries.append(copied)
        window.gone_turns, window.fixed = self.gone_turns, self.fixed
        return window

    def pages(self) -> tuple[str, ...]:
        """Addresses of all pages that are resident, in order, each once."""
        return tuple(dict.fromkeys(page for entry in self.entries for page in entry.pages))


def _units(entries: Sequence[Entry]) -> list[int]:
    units: list[int] = []
    unit, asked, owed = -1, 0, 0  # `owed` is what `pending` would count anew for each turn that follows the call
    for at, entry in enumerate(entries):
        result = entry.kind == "turn" and entry.turn.role == "tool"
        unit += not (result and owed > 0 and at - asked <= PAIR_MAX)
        units.append(unit)
        if result:
            owed -= results_in(entry.turn)
        elif entry.kind == "turn":
            asked, owed = at, len(entry.turn.calls)
    return units


PAIR_MAX = 64
"""How far back the call of a tool's result is looked for."""


def stub_of(turns: int) -> str:
    """The line that stands for `turns` that are gone."""
    return f"[{turns} earlier turns are not shown; context.recall finds them]"


def shortened(turn: Turn, bytes_max: int) -> Turn:
    """`turn` with its long texts cut to head and tail, `bytes_max` in all but for the line between them."""
    texts = [part for part in turn.parts if isinstance(part, Text | ToolResult)]
    if not texts or size_of(turn) <= bytes_max:
        return turn
    room = max(0, bytes_max - (size_of(turn) - sum(_bytes(part.text) for part in texts)) - len(texts) * CUT_BYTES)
    each = room // len(texts)
    parts = tuple(
        replace(part, text=_ends(part.text, each)) if isinstance(part, Text | ToolResult) else part
        for part in turn.parts
    )
    return replace(turn, parts=parts)


CUT_BYTES = 80


def _ends(text: str, bytes_max: int) -> str:
    size = _bytes(text)
    if size <= bytes_max + CUT_BYTES:
        return text
    head = text.encode()[: bytes_max * 2 // 3].decode(errors="ignore")
    tail = text.encode()[size - bytes_max // 3 :].decode(errors="ignore") if bytes_max >= 3 else ""
    return f"{head}\n[{size - _bytes(head) - _bytes(tail)} bytes are not shown; context.recall finds them]\n{tail}"


def _bytes(text: str) -> int:
    return len(text.encode())
