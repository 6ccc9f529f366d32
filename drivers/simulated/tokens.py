"""The simulated tokenizer: one token is one byte of UTF-8; ids from 256 on open and close turns."""

import json
from collections.abc import Sequence
from typing import final

import msgspec
from msgspec import Struct

from syscalls.errors import Invalid
from syscalls.turns import Image, Role, ToolCall, ToolSpec, Turn

ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
OPENERS: dict[Role, int] = {role: 256 + n for n, role in enumerate(ROLES)}
END = 260
TOOLS = 261
TAIL = (OPENERS["assistant"],)
TEMPLATE = "sim-1"
VOCABULARY = 262
NAMES = {**{token: f"<|{role}|>" for role, token in OPENERS.items()}, END: "<|end|>", TOOLS: "<|tools|>"}


@final
class Heard(Struct, frozen=True):
    """A turn as it is read back from ids."""

    role: Role
    text: str


def head_of(tools: Sequence[ToolSpec]) -> tuple[int, ...]:
    """The ids that tell of the tools; none without tools."""
    return (TOOLS, *msgspec.json.encode(tools), END) if tools else ()


def segment_of(turn: Turn) -> tuple[int, ...]:
    """The ids of one turn, which depend on no other turn."""
    if any(isinstance(part, Image) for part in turn.parts):
        raise Invalid("the simulated model reads text only: leave images out")
    return (OPENERS[turn.role], *spoken(turn.text, turn.calls).encode(), END)


def spoken(text: str, calls: Sequence[ToolCall]) -> str:
    """What a model says that answers with `text` and asks for `calls`."""
    lines = [text] if text else []
    for call in calls:
        body = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
        lines.append(f"<tool_call>{body}</tool_call>")
    return "\n".join(lines)


def text_of(ids: Sequence[int]) -> str:
    """Ids as text, those that are no bytes by name. Raises Invalid for what is no token."""
    pieces: list[str] = []
    body = bytearray()
    for token in ids:
        if not 0 <= token < VOCABULARY:
            raise Invalid(f"{token} is no token of the simulated model: ids are 0 to {VOCABULARY - 1}")
        if token < 256:
            body.append(token)
            continue
        pieces += [body.decode(errors="replace"), NAMES[token]]
        body.clear()
    return "".join([*pieces, body.decode(errors="replace")])


def answer_begun(ids: Sequence[int]) -> tuple[Sequence[int], int]:
    """A prompt that ends within an answer: up to where the answer opens, and how many tokens of it are there."""
    at = next((at for at in range(len(ids) - 1, -1, -1) if ids[at] >= 256), -1)
    return (ids[: at + 1], len(ids) - at - 1) if at >= 0 and ids[at] in TAIL else (ids, 0)


def heard(ids: Sequence[int]) -> list[Heard]:
    """The turns in a prompt, the opened but empty answer left out."""
    turns: list[Heard] = []
    role: Role | None = None
    body = bytearray()
    for token in ids:
        if 0 <= token < 256:
            body.append(token)
        elif token == END:
            if role is not None:
                turns.append(Heard(role, body.decode(errors="replace")))
            role = None
        else:
            role, body = _role(token), bytearray()
    return turns


def _role(token: int) -> Role | None:
    if token == TOOLS:
        return None
    if not 256 <= token < END:
        raise Invalid(f"{token} is no token of the simulated model: render the turns with it")
    return ROLES[token - 256]
