"""What may be shown of a text that is still being generated: no possible stop string, no inside of a tool call.

Pure and fed piece by piece; the same pieces always give the same texts, which is what makes resuming exact: feed what
was generated before, drop what comes out, go on.
"""

import json
from collections.abc import Sequence
from typing import Any, final

import msgspec

from syscalls.turns import ToolCall

OPEN_TAG, CLOSE_TAG = "<tool_call>", "</tool_call>"


@final
class Certain:
    """Takes raw text, gives what is certain of it, collects the tool calls.

    Stop strings are matched on the raw text; from the first match on nothing is taken. A tool call is Hermes style:
    JSON with `name` and `arguments` between tags. One that does not parse stays text, tags and all. White space
    around a tool call is not text.
    """

    def __init__(self, stop: Sequence[str] = (), *, tools: bool = True) -> None:
        self._stop = tuple(text for text in stop if text)
        self._tags = tools
        self._unstopped = ""
        self._pending = ""
        self._after_call = False
        self._shown: list[str] = []
        self.calls: list[ToolCall] = []
        self.stopped = False

    @property
    def text(self) -> str:
        """Everything that was given out so far."""
        return "".join(self._shown)

    def feed(self, piece: str) -> str:
        """The text that is certain now that `piece` came."""
        if self.stopped or not piece:
            return ""
        self._unstopped += piece
        cut = first_match(self._unstopped, self._stop)
        if cut is not None:
            self.stopped = True
            self._pending += self._unstopped[:cut]
            self._unstopped = ""
            return self._show(self._split(final=True))
        safe = len(self._unstopped) - longest_prefix_at_end(self._unstopped, self._stop)
        self._pending += self._unstopped[:safe]
        self._unstopped = self._unstopped[safe:]
        return self._show(self._split(final=False))

    def finish(self) -> str:
        """No more will come: the rest of the text."""
        if self.stopped:
            return ""
        self._pending += self._unstopped
        self._unstopped = ""
        self.stopped = True
        return self._show(self._split(final=True))

    def _show(self, text: str) -> str:
        if text:
            self._shown.append(text)
        return text

    def _split(self, *, final: bool) -> str:
        """Takes what is decided out of `_pending`: text, and whole tool calls."""
        out: list[str] = []
        while self._tags and (start := self._pending.find(OPEN_TAG)) >= 0:
            end = self._pending.find(CLOSE_TAG, start)
            if end < 0 and not final:
                break
            end = len(self._pending) if end < 0 else end + len(CLOSE_TAG)
            out.append(self._block(start, end))
            self._pending = self._pending[end:]
        if final:
            out.append(self._rest(self._pending))
            self._pending = ""
        elif OPEN_TAG not in self._pending or not self._tags:
            safe = len(self._pending) - self._held_at_end()
            out.append(self._plain(self._pending[:safe]))
            self._pending = self._pending[safe:]
        else:
            start = len(self._pending[: self._pending.find(OPEN_TAG)].rstrip())
            out.append(self._plain(self._pending[:start]))
            self._pending = self._pending[start:]
        return "".join(out)

    def _block(self, start: int, end: int) -> str:
        call = parse_call(self._pending[start + len(OPEN_TAG) : end - len(CLOSE_TAG)])
        if call is None or not self._pending[start:end].endswith(CLOSE_TAG):
            return self._plain(self._pending[:end])
        self.calls.append(call)
        self._after_call = True
        return self._pending[:start].rstrip()

    def _plain(self, text: str) -> str:
        self._after_call = self._after_call and not text.strip()
        return text

    def _rest(self, text: str) -> str:
        return "" if self._after_call and not text.strip() else text

    def _held_at_end(self) -> int:
        """How much of the end may turn out to be the opening of a tool call, white space before it included."""
        if not self._tags:
            return 0
        tag = longest_prefix_at_end(self._pending, (OPEN_TAG,))
        body = self._pending[: len(self._pending) - tag]
        return tag + len(body) - len(body.rstrip())


def first_match(text: str, stop: Sequence[str]) -> int | None:
    """Where the earliest of the stop strings begins, or None."""
    found = [at for at in (text.find(word) for word in stop) if at >= 0]
    return min(found) if found else None


def longest_prefix_at_end(text: str, words: Sequence[str]) -> int:
    """The length of the longest proper prefix of any of `words` that `text` ends with."""
    longest = max((len(word) for word in words), default=0) - 1
    for size in range(min(longest, len(text)), 0, -1):
        end = text[-size:]
        if any(len(word) > size and word.startswith(end) for word in words):
            return size
    return 0


def parse_call(body: str) -> ToolCall | None:
    """A tool call from the JSON between its tags; None for whatever is not one."""
    try:
        data: Any = json.loads(body)
        arguments = data.get("arguments", data.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        return msgspec.convert({"type": "call", "name": data["name"], "arguments": arguments}, ToolCall)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, msgspec.ValidationError):
        return None
