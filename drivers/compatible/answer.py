"""One streamed answer put together: text as it becomes certain, tool calls from their pieces, how it ended, usage."""

import json
from typing import Any, Literal, final

import msgspec
from msgspec import Struct

from drivers.certain import CLOSE_TAG, OPEN_TAG, Certain
from drivers.compatible.refusals import refusal_in_stream
from syscalls.driver import Finished, Generate
from syscalls.errors import IOFailed
from syscalls.turns import ToolCall

DONE = "[DONE]"
TEXT_CHARS_SHOWN = 120


class _Function(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _CallPiece(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: str | None = None
    tool_calls: list[_CallPiece] | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Chunk(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class _Call(Struct):
    id: str = ""
    name: str = ""
    arguments: str = ""


@final
class Answer:
    """Takes the data of each event. `ended` once nothing more is wanted: the end, or a stop string."""

    def __init__(self, call: Generate) -> None:
        self._certain = Certain(call.sampling.stop, tools=bool(call.tools))
        self._max_tokens = call.sampling.max_tokens
        self._calls: dict[int, _Call] = {}
        self._reason: str | None = None
        self._stop_string = False
        self._usage: _Usage | None = None
        self._flushed = False
        self._done = False
        self._pieces = 0

    @property
    def ended(self) -> bool:
        return self._done or self.cut

    @property
    def cut(self) -> bool:
        """Whether a stop string ended it, whatever the server still says."""
        return self._certain.stopped and not self._flushed

    def take(self, data: str) -> str:
        """The text that is certain now. Raises what the server refused in mid-stream, or IOFailed for what is no event
        of this API."""
        if data.strip() == DONE:
            self._done = True
            return ""
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise IOFailed(
                f"the server sent something else than events of this API: {data[:TEXT_CHARS_SHOWN]!r}"
            ) from None
        if chunk.error is not None:
            raise refusal_in_stream(chunk.error)
        self._usage = chunk.usage or self._usage
        return "".join([self._choice(choice) for choice in chunk.choices[:1]])

    def _choice(self, choice: _Choice) -> str:
        text = ""
        if choice.delta is not None:
            self._pieces += 1
            for place, piece in enumerate(choice.delta.tool_calls or ()):
                self._call(place, piece)
            text = self._certain.feed(choice.delta.content or "")
        if choice.finish_reason:
            self._reason = choice.finish_reason
            self._stop_string = isinstance(choice.stop_reason, str)
        return text

    def _call(self, place: int, piece: _CallPiece) -> None:
        call = self._calls.setdefault(place if piece.index is None else piece.index, _Call())
        call.id = piece.id or call.id
        if piece.function is not None:
            call.name += piece.function.name or ""
            arguments = piece.function.arguments or ""
            call.arguments += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def rest(self) -> str:
        """What was held back, once the server has ended. Raises IOFailed if it ended before the answer did."""
        if self.cut:
            return ""
        if self._reason is None:
            raise IOFailed(
                "the server closed the connection in mid-answer: ask again; if it recurs, see the server's log"
            )
        if self._reason == "content_filter":
            raise IOFailed("the server withheld the rest of its answer (content_filter): ask in other words")
        self._flushed = True
        broken = "".join(self._certain.feed(text) for text in self._broken_calls())
        return broken + self._certain.finish()

    def _broken_calls(self) -> list[str]:
        """Calls whose arguments are no JSON object stay text, as a model's other mistakes do."""
        calls = [call for _, call in sorted(self._calls.items()) if arguments_of(call) is None]
        return [f"{OPEN_TAG}{call.name} {call.arguments}{CLOSE_TAG}" for call in calls]

    def finished(self, *, prompt_bound: int) -> Finished:
        """How it ended. Where the server does not count, the counts are upper bounds."""
        streamed = ((call, arguments_of(call)) for _, call in sorted(self._calls.items()))
        calls = [ToolCall(call.name, found, call.id) for call, found in streamed if found is not None]
        calls += self._certain.calls
        usage = self._usage
        details = usage.prompt_tokens_details if usage else None
        return Finished(
            finish=self._finish(bool(calls)),
            text=self._certain.text,
            calls=tuple(calls),
            prompt_tokens=usage.prompt_tokens if usage else prompt_bound,
            generated_tokens=usage.completion_tokens if usage else self._bound(),
            cached_tokens=(details.cached_tokens or 0) if details else 0,
        )

    def _finish(self, calls: bool) -> Literal["stop", "length", "stop_string", "calls"]:
        if self.cut or self._stop_string:
            return "stop_string"
        if self._reason == "length":
            return "length"
        return "calls" if calls else "stop"

    def _bound(self) -> int:
        said = self._certain.text + "".join(call.name + call.arguments for call in self._calls.values())
        return min(self._max_tokens, max(self._pieces, len(said.encode())))


def arguments_of(call: _Call) -> dict[str, Any] | None:
    """The arguments of a call that was streamed; None when they are no JSON object, or it has no name."""
    try:
        found = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and call.name else None
