"""Turns as Hugging Face chat templates want them, and the conversations by which a template is tried."""

from typing import Any

from syscalls.errors import Invalid
from syscalls.turns import Image, ToolResult, ToolSpec, Turn

PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
"""The template behind `template=plain`: `role: text` lines. For models that have none of their own; tools are not
told."""


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
