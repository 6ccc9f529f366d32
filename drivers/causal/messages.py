"""Turns as Hugging Face chat templates want them, and the conversations by which a template is tried."""

import re
from collections.abc import Iterable
from typing import Any, final

from syscalls.errors import Invalid
from syscalls.turns import Image, ToolResult, ToolSpec, Turn

PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
"""The template behind `template=plain`: `role: text` lines. For models that have none of their own; tools are not
told."""


@final
class Plain:
    """Takes a tokenizer's control tokens out of texts: a document that spells one must not open a turn of its own.

    A word joiner after the first character keeps the text readable and makes it ordinary tokens; what is stored stays
    as it was.
    """

    def __init__(self, control: Iterable[str]) -> None:
        words = sorted({re.escape(text) for text in control if len(text) > 1}, key=len, reverse=True)
        self._control = re.compile("|".join(words)) if words else None

    def text(self, text: str) -> str:
        return self._control.sub(_broken, text) if self._control else text

    def value(self, value: Any) -> Any:
        """The same within a JSON-like value."""
        match value:
            case str():
                return self.text(value)
            case list() | tuple():
                return [self.value(each) for each in value]
            case dict():
                return {self.value(key): self.value(each) for key, each in value.items()}
            case _:
                return value


def _broken(found: re.Match[str]) -> str:
    return f"{found[0][0]}\N{WORD JOINER}{found[0][1:]}"


def messages_of(turn: Turn, plain: Plain) -> list[dict[str, Any]]:
    """The messages of one turn, without control tokens."""
    cleaned: list[dict[str, Any]] = plain.value(message_of(turn))
    return cleaned


def message_of(turn: Turn) -> list[dict[str, Any]]:
    """The messages of one turn: one, or one for each tool result. Raises Invalid for images."""
    if any(isinstance(part, Image) for part in turn.parts):
        raise Invalid("this model reads text only: leave images out")
    results = [part for part in turn.parts if isinstance(part, ToolResult)]
    if turn.role == "tool" and results:
        return [_result(result) for result in results]
    message: dict[str, Any] = {"role": turn.role, "content": turn.text}
    if turn.calls:
        message["tool_calls"] = [
            {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in turn.calls
        ]
    return [message]


def _result(result: ToolResult) -> dict[str, Any]:
    return {"role": "tool", "content": result.text, "name": result.name, "tool_call_id": result.id}


def tool_of(tool: ToolSpec) -> dict[str, Any]:
    """A tool as templates list it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _said(role: str, content: str, *calls: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": content}
    if calls:
        message["tool_calls"] = [
            {"type": "function", "id": f"call{n:05}", "function": {"name": name, "arguments": {"a": "1"}}}
            for n, name in enumerate(calls)
        ]
    if role == "tool":
        message |= {"name": "look", "tool_call_id": "call00000"}
    return message


PROBE_TOOLS = (ToolSpec("look", "Looks."),)
PROBES: tuple[tuple[dict[str, Any], ...], ...] = (
    (_said("system", "Be brief."), _said("user", " 12 äé\n"), _said("assistant", "\nYes. "), _said("user", "And?")),
    (
        _said("user", "find it"),
        _said("assistant", "", "look"),
        _said("tool", "found 3\n"),
        _said("assistant", "It is 3."),
        _said("user", " thanks"),
        _said("assistant", "<b>"),
    ),
    (
        _said("system", ""),
        _said("user", "both"),
        _said("assistant", "ok", "look", "look"),
        _said("tool", "one"),
        _said("tool", "two"),
    ),
    (_said("user", "a"), _said("user", "b"), _said("tool", "c"), _said("user", "d"), _said("system", "e")),
    (
        _said("user", "why"),
        _said("assistant", "<think>\nhm\n</think>\n\nso"),
        _said("user", "ah"),
        _said("assistant", "y"),
    ),
)
