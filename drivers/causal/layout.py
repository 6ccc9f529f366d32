"""Turns to token ids by the model's chat template: one segment a turn, so that what stays the same is not made again.

Chat templates are programs over the whole conversation; nothing promises that they write turns one after another. So
the template is tried at the start. Where each turn is written by itself (`independent`), its ids are kept by the turn
alone. Otherwise prefixes of the conversation are rendered one after another and kept by what came before. Where a
longer conversation does not begin with the shorter one, or ids change where pieces meet, the whole is tokenised at
once and cut where the turns end, and `append_exact` is declared false.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, final

import msgspec

from drivers.causal.messages import PROBE_TOOLS, PROBES, Plain, messages_of, tool_of
from syscalls.driver import Rendered
from syscalls.errors import Invalid
from syscalls.turns import ToolSpec, Turn, canonical

KEPT_IDS_MAX = 500_000


class _Broken(Exception):
    """This conversation's text cannot be put together from its pieces."""


@final
class Layout:
    """Renders for one tokenizer. Not thread-safe: one caller at a time."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._fast = getattr(tokenizer, "backend_tokenizer", None)
        self._added = frozenset(tokenizer.get_added_vocab().values())
        self._plain = Plain(_control_tokens(tokenizer))
        self._kept: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()
        self._kept_ids = 0
        self.independent = self._writes_turns_alone()
        self.append_exact = self._pieces_are_whole()

    def render(self, turns: Sequence[Turn], tools: Sequence[ToolSpec]) -> Rendered:
        """The ids. Raises Invalid with the template's own words where it refuses the conversation."""
        if not turns:
            raise Invalid("no turns to render: append one first")
        told = msgspec.msgpack.encode(tuple(tools))
        try:
            if not self.append_exact:
                return self._whole(turns, tools)
            pieces = self._alone(turns, tools, told) if self.independent else self._chained(turns, tools, told)
        except _Broken:
            return self._whole(turns, tools)
        return Rendered(head=pieces[0], segments=tuple(pieces[1:-1]), tail=pieces[-1])

    def text(self, messages: Sequence[dict[str, Any]], tools: Sequence[ToolSpec], *, opens: bool) -> str:
        """What the template writes; with `opens`, the opening of the answer too."""
        try:
            written = self._tokenizer.apply_chat_template(
                [list(messages)],  # a batch of one: of an empty conversation alone it would look at the first message
                tools=[self._plain.value(tool_of(tool)) for tool in tools] or None,
                tokenize=False,
                add_generation_prompt=opens,
            )
        except Exception as refused:  # templates raise what they like
            said = str(refused).strip().splitlines()
            raise Invalid(f"the chat template refuses this conversation: {said[0] if said else refused!r}") from None
        return str(written[0])

    def ids(self, text: str) -> tuple[int, ...]:
        """Token ids, nothing added."""
        if self._fast is not None:
            return tuple(self._fast.encode(text, add_special_tokens=False).ids)
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    # Each turn by itself.

    def _alone(self, turns: Sequence[Turn], tools: Sequence[ToolSpec], told: bytes) -> list[tuple[int, ...]]:
        """Each turn's piece by the turn alone. When one is new the whole is written too, once: a template may still
        treat some text in some place in a way that the trial did not meet."""
        keys = [b"H" + told, *(b"S" + told + canonical((turn,)) for turn in turns), b"T" + told]
        pieces = [self._get(key) for key in keys]
        if None in pieces:
            texts = self._texts_alone(turns, tools)
            if "".join(texts) != self.text(self._messages(turns), tools, opens=True):
                raise _Broken
            ids = [self.ids(texts[0]), *(self._apart(text) for text in texts[1:])]
            pieces = [self._keep(key, piece) for key, piece in zip(keys, ids, strict=True)]
        return [piece or () for piece in pieces]

    def _texts_alone(self, turns: Sequence[Turn], tools: Sequence[ToolSpec]) -> list[str]:
        head = self.text((), tools, opens=False)
        tail = self.text((), tools, opens=True).removeprefix(head)
        alone = [self.text(messages_of(turn, self._plain), tools, opens=False).removeprefix(head) for turn in turns]
        return [head, *alone, tail]

    # Prefix by prefix.

    def _chained(self, turns: Sequence[Turn], tools: Sequence[ToolSpec], told: bytes) -> list[tuple[int, ...]]:
        keys = [b"P" + told + canonical(tuple(turns[:count])) for count in range(len(turns) + 1)]
        pieces: list[tuple[int, ...]] = [()]
        done = 0
        while done < len(turns) and (found := self._get(keys[done + 1])) is not None:
            pieces.append(found)
            done += 1
        before = self.text(self._messages(turns[:done]), tools, opens=False) if done else ""
        for count in range(done + 1, len(turns) + 1):
            text = self.text(self._messages(turns[:count]), tools, opens=False)
            pieces.append(self._keep(keys[count], self._piece(before, text)))
            before = text
        pieces.append(self._piece(before, self.text(self._messages(turns), tools, opens=True)))
        return pieces

    def _piece(self, before: str, text: str) -> tuple[int, ...]:
        """The ids of what `text` adds to `before`. Raises _Broken unless it begins with it."""
        if not text.startswith(before):
            raise _Broken
        return self._apart(text[len(before) :]) if before else self.ids(text)

    def _apart(self, text: str) -> tuple[int, ...]:
        """The ids of a text that are the same whatever stands before it: it begins with a token of its own. Raises
        _Broken if it does not."""
        ids = self.ids(text)
        if ids and ids[0] not in self._added:
            raise _Broken
        return ids

    # All at once.

    def _whole(self, turns: Sequence[Turn], tools: Sequence[ToolSpec]) -> Rendered:
        text = self.text(self._messages(turns), tools, opens=True)
        ends = [_shared(self.text(self._messages(turns[:n]), tools, opens=False), text)
                for n in range(1, len(turns) + 1)]  # fmt: skip
        ids, starts = self._placed(text)
        cuts, at = [], 0
        for end in ends:
            while at < len(ids) and starts[at] < end:
                at += 1
            cuts.append(at)
        segments = tuple(ids[a:b] for a, b in zip([0, *cuts], cuts, strict=False))
        return Rendered(segments=segments, tail=ids[cuts[-1] :])

    def _placed(self, text: str) -> tuple[tuple[int, ...], list[int]]:
        """Ids, and the place in `text` where each begins (evenly spread if the tokenizer does not tell)."""
        if self._fast is not None:
            found = self._fast.encode(text, add_special_tokens=False)
            return tuple(found.ids), [start for start, _ in found.offsets]
        ids = self.ids(text)
        return ids, [n * len(text) // max(1, len(ids)) for n in range(len(ids))]

    # Trying the template.

    def _writes_turns_alone(self) -> bool:
        try:
            return all(self._is_sum(probe, tools) for probe in PROBES for tools in ((), PROBE_TOOLS))
        except Invalid:
            return False

    def _is_sum(self, messages: Sequence[dict[str, Any]], tools: Sequence[ToolSpec]) -> bool:
        head = self.text((), tools, opens=False)
        tail = self.text((), tools, opens=True).removeprefix(head)
        alone = [self.text((message,), tools, opens=False) for message in messages]
        if not all(text.startswith(head) for text in alone):
            return False
        whole = head + "".join(text.removeprefix(head) for text in alone) + tail
        return whole == self.text(messages, tools, opens=True)

    def _pieces_are_whole(self) -> bool:
        """Whether ids put together from the pieces of a conversation are the ids of the whole."""
        tried = 0
        for messages in PROBES:
            try:
                texts = ["", *(self.text(messages[:n], (), opens=False) for n in range(1, len(messages) + 1))]
                texts.append(self.text(messages, (), opens=True))
            except Invalid:
                continue
            tried += 1
            try:
                pieces = [self._piece(a, b) for a, b in pairwise(texts)]
            except _Broken:
                return False
            if tuple(i for piece in pieces for i in piece) != self.ids(texts[-1]):
                return False
        return tried > 0

    def _messages(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        return [message for turn in turns for message in messages_of(turn, self._plain)]

    # What is kept.

    def _get(self, key: bytes) -> tuple[int, ...] | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def _keep(self, key: bytes, ids: tuple[int, ...]) -> tuple[int, ...]:
        self._kept[key] = ids
        self._kept_ids += len(ids)
        while self._kept_ids > KEPT_IDS_MAX and len(self._kept) > 1:
            self._kept_ids -= len(self._kept.popitem(last=False)[1])
        return ids


def _control_tokens(tokenizer: Any) -> set[str]:
    """The tokens that are not text: those named (end, padding), and those added as special."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}


def _shared(a: str, b: str) -> int:
    """The length of the common prefix."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
