"""Pages: immutable, content-addressed runs of turns, and the rule by which turns become pages.

The rule goes by bytes, never by a model's tokens: the same conversation has the same pages whatever reads it. A page
closes before it would pass `bytes_max`; a tool call and its results stay in one page; a body that is larger alone is
cut into a chain of parts.
"""

from collections.abc import Iterable, Sequence
from typing import final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kernel.mm.packed import arguments_of
from syscalls.turns import Image, Part, Text, ToolCall, ToolResult, Turn

BYTES_PER_TOKEN = 4
TURN_BYTES = 16
IMAGE_BYTES = 4096
SLICE_CHARS = 800
"""What is embedded as one vector: sentence models read about so much and pass over the rest."""


@final
class Ref(Struct, frozen=True):
    """Where a page stands in a conversation: `turns` of it begin at turn `first`; part `part` of `parts` of a body that
    is one turn. `slices` vectors stand for it. `resident` False: it never passed through the window."""

    address: str
    first: int
    turns: int
    slices: int
    part: int = 1
    parts: int = 1
    resident: bool = True


@final
class Run(Struct, frozen=True):
    """Turns that make a page, before it has an address: the turns themselves, or one part of one."""

    turns: tuple[Turn, ...]
    part: int = 1
    parts: int = 1

    @property
    def counted(self) -> int:
        """How many turns of the conversation it completes: a body counts with its last part."""
        return len(self.turns) if self.part == self.parts else 0


def size_of(turn: Turn) -> int:
    """Upper bound of what a turn weighs, in bytes of UTF-8 and an overhead per turn and part."""
    return TURN_BYTES + sum(_part_bytes(part) for part in turn.parts)


def _part_bytes(part: Part) -> int:
    match part:
        case Text(text):
            return len(text.encode(errors="surrogatepass"))
        case ToolResult(text, name, call_id):
            return TURN_BYTES + len(text.encode(errors="surrogatepass")) + len(name) + len(call_id)
        case ToolCall(name, _, call_id):
            return TURN_BYTES + len(msgspec.json.encode(arguments_of(part))) + len(name.encode()) + len(call_id)
        case Image():
            return IMAGE_BYTES


def pending(turns: Sequence[Turn]) -> int:
    """How many calls of the newest model's turn still wait for their result at the end of `turns`."""
    results = 0
    for turn in reversed(turns):
        if turn.role != "tool":
            return max(0, len(turn.calls) - results)
        results += results_in(turn)
    return 0


def results_in(turn: Turn) -> int:
    """How many calls it answers."""
    return sum(isinstance(part, ToolResult) for part in turn.parts)


def cut(turns: Sequence[Turn], *, bytes_max: int, flush: bool) -> tuple[list[Run], int]:
    """The pages that `turns` close, and how many turns they take; the rest stays open. `flush` closes it all."""
    runs: list[Run] = []
    start, weight, owed = 0, 0, 0  # `owed` is what `pending` would count anew for each turn
    for end, turn in enumerate(turns):
        size = size_of(turn)
        if end > start and weight + size > bytes_max and owed <= 0:
            runs.extend(_close(turns[start:end], bytes_max))
            start, weight, owed = end, 0, 0
        weight += size
        owed = len(turn.calls) if turn.role != "tool" else owed - results_in(turn)
        if weight >= bytes_max and owed <= 0:
            runs.extend(_close(turns[start : end + 1], bytes_max))
            start, weight, owed = end + 1, 0, 0
    if flush and start < len(turns):
        runs.extend(_close(turns[start:], bytes_max))
        start = len(turns)
    return runs, start


def _close(turns: Sequence[Turn], bytes_max: int) -> list[Run]:
    """One page, but for bodies that are too large for one: those are chains, and what is around them its own page."""
    runs: list[Run] = []
    whole: list[Turn] = []
    for turn in turns:
        parts = split(turn, bytes_max=bytes_max)
        if len(parts) == 1:
            whole.append(turn)
            continue
        if whole:
            runs.append(Run(tuple(whole)))
            whole = []
        runs.extend(Run((part,), n, len(parts)) for n, part in enumerate(parts, 1))
    if whole:
        runs.append(Run(tuple(whole)))
    return runs


def split(turn: Turn, *, bytes_max: int) -> tuple[Turn, ...]:
    """`turn` as turns of at most about `bytes_max` each, cut between lines, words or letters; `join` undoes it."""
    if size_of(turn) <= bytes_max or len(turn.parts) != 1 or not isinstance(turn.parts[0], Text | ToolResult):
        return (turn,)
    part = turn.parts[0]
    pieces = _pieces(
        part.text, max(bytes_max // 4, bytes_max - size_of(turn) + len(part.text.encode(errors="surrogatepass")))
    )
    return tuple(replace(turn, parts=(replace(part, text=piece),)) for piece in pieces)


def join(parts: Sequence[Turn]) -> Turn:
    """The turn that `split` cut."""
    first = parts[0]
    if len(parts) == 1:
        return first
    part = first.parts[0]
    assert isinstance(part, Text | ToolResult)
    return replace(first, parts=(replace(part, text="".join(each.text for each in parts)),))


def _pieces(text: str, bytes_max: int) -> list[str]:
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = _fitting(text, start, bytes_max)
        if end < len(text):
            end = _seam(text, start, end)
        pieces.append(text[start:end])
        start = end
    return pieces


def _fitting(text: str, start: int, bytes_max: int) -> int:
    """The largest end for which text[start:end] has at most `bytes_max` bytes, and at least one character."""
    end = min(len(text), start + bytes_max)
    while end - start > 1 and len(text[start:end].encode(errors="surrogatepass")) > bytes_max:
        excess = len(text[start:end].encode(errors="surrogatepass")) - bytes_max
        end = max(start + 1, end - max(1, excess // 4))
    return end


def _seam(text: str, start: int, end: int) -> int:
    """The last good place to cut in the second half of text[start:end]."""
    for mark in ("\n\n", "\n", ". ", " "):
        found = text.rfind(mark, start + (end - start) // 2, end)
        if found >= 0:
            return found + len(mark)
    return end


def text_of(turns: Iterable[Turn]) -> str:
    """What of a page is read for its meaning: all text, a line break between turns."""
    return "\n".join(text for turn in turns if (text := turn.text.strip()))


def slices_of(turns: Iterable[Turn]) -> tuple[str, ...]:
    """The pieces of a page that are embedded, one vector each; none for a page without text."""
    text = text_of(turns)
    return tuple(text[at : at + SLICE_CHARS] for at in range(0, len(text), SLICE_CHARS))
