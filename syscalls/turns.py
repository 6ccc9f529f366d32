"""Turns: the messages of a conversation and the parts they are made of."""

import re
from itertools import islice
from typing import Annotated, Any, Literal, final

import msgspec
from msgspec import Meta, Struct

from syscalls.limits import TURNS_MAX

Role = Literal["system", "user", "assistant", "tool"]


@final
class Text(Struct, frozen=True, tag="text"):
    """Plain text."""

    text: str


@final
class Image(Struct, frozen=True, tag="image"):
    """An image, encoded as `media_type` says."""

    data: bytes
    media_type: str = "image/png"


@final
class ToolCall(Struct, frozen=True, tag="call"):
    """A model asks for `name` with `arguments` (JSON object)."""

    name: str
    arguments: dict[str, Any]
    id: str = ""


@final
class ToolResult(Struct, frozen=True, tag="result"):
    """What a tool answered; `error` when it failed."""

    text: str
    name: str = ""
    id: str = ""
    error: bool = False


Part = Text | Image | ToolCall | ToolResult


@final
class Turn(Struct, frozen=True):
    """One message. `source` names where a recalled or shown text comes from (a file, a page); models do not see it."""

    role: Role
    parts: tuple[Part, ...]
    source: str = ""

    @property
    def text(self) -> str:
        """Its text, tool results included, images and calls left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text | ToolResult))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls it makes."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


Turns = Annotated[tuple[Turn, ...], Meta(max_length=TURNS_MAX)]
"""As a call takes them."""


@final
class ToolSpec(Struct, frozen=True):
    """A tool as a model is told of it: `parameters` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})


def system(text: str) -> Turn:
    """A system turn."""
    return Turn("system", (Text(text),))


def user(text: str, source: str = "") -> Turn:
    """A user's turn."""
    return Turn("user", (Text(text),), source)


def assistant(text: str, *calls: ToolCall) -> Turn:
    """A model's turn: text, then the tool calls."""
    return Turn("assistant", ((Text(text),) if text else ()) + calls)


def tool(text: str, *, name: str = "", call_id: str = "", source: str = "", error: bool = False) -> Turn:
    """A tool's answer."""
    return Turn("tool", (ToolResult(text, name, call_id, error),), source)


_CANONICAL = msgspec.msgpack.Encoder(order="deterministic")
_TURNS = msgspec.msgpack.Decoder(tuple[Turn, ...])


def canonical(turns: tuple[Turn, ...]) -> bytes:
    """The bytes that a page address is made from: the same turns always give the same bytes."""
    return _CANONICAL.encode(turns)


def parse_turns(data: bytes) -> tuple[Turn, ...]:
    """The turns that `canonical` made bytes of."""
    return _TURNS.decode(data)


_KIND = re.compile(rb"type[\xa4-\xa6\xd9-\xdb]")


def has_parts(data: bytes | memoryview, count: int) -> bool:
    """Whether msgpack of turns may have so many parts: told by the names of their kinds, before they are objects."""
    return next(islice(_KIND.finditer(data), count - 1, None), None) is not None
