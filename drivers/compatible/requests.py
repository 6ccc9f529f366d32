"""What is sent: turns, tools and sampling as the chat completions API wants them, and what they cost at most."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from syscalls.driver import Generate, Rendered, Sampling
from syscalls.turns import Image, Text, ToolCall, ToolResult, ToolSpec, Turn

STOP_MAX = 4
"""What the API takes; all of them are matched here besides."""

TURN_TOKENS = 16
IMAGE_TOKENS = 2048
TOOLS_TOKENS = 512
EDGE_TOKENS = 16


def body_of(call: Generate, *, model: str, limit_field: str) -> dict[str, Any]:
    """The JSON of a streaming request for `call`."""
    sampling = call.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": messages_of(call.turns),
        "stream": True,
        "stream_options": {"include_usage": True},
        limit_field: sampling.max_tokens,
        **_chance(sampling),
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop[:STOP_MAX])
    if call.tools:
        body["tools"] = [tool_of(tool) for tool in call.tools]
    return body


def _chance(sampling: Sampling) -> dict[str, Any]:
    chance: dict[str, Any] = {"temperature": sampling.temperature, "seed": sampling.seed}
    return chance if sampling.top_p >= 1.0 else chance | {"top_p": sampling.top_p}


def tool_of(tool: ToolSpec) -> dict[str, Any]:
    """A tool as the API lists it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The conversation.

    The API takes a tool's result only as the answer to a call before it. Calls without an id are given one, results
    without an id answer the oldest open call of their name. A result that answers no call (a page that was recalled)
    goes as a user's message that says what it is, once the open calls are answered; a call that nobody answered is
    answered with that.
    """
    messages: list[dict[str, Any]] = []
    waiting: dict[str, str] = {}
    strays: list[dict[str, Any]] = []
    for turn in turns:
        results = [part for part in turn.parts if isinstance(part, ToolResult)]
        if not results:
            messages += _unanswered(waiting) + _all(strays)
            messages.append(_said(turn, len(messages), waiting))
            continue
        for result in results:
            message = _result(result, waiting)
            (messages if message["role"] == "tool" else strays).append(message)
        beside = "".join(part.text for part in turn.parts if isinstance(part, Text))
        strays += [{"role": "user", "content": beside}] if beside else []
    return messages + _unanswered(waiting) + strays


def _all(strays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    taken = list(strays)
    strays.clear()
    return taken


def _said(turn: Turn, place: int, waiting: dict[str, str]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "user" if turn.role == "tool" else turn.role, "content": _content(turn)}
    calls = [_call(call, f"call_{place}_{n}", taken=waiting) for n, call in enumerate(turn.calls)]
    if calls:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None
    return message


def _call(call: ToolCall, default_id: str, *, taken: dict[str, str]) -> dict[str, Any]:
    call_id = call.id if call.id and call.id not in taken else default_id
    taken[call_id] = call.name
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {"id": call_id, "type": "function", "function": function}


def _content(turn: Turn) -> str | list[dict[str, Any]]:
    images = [part for part in turn.parts if isinstance(part, Image)]
    if not images:
        return turn.text
    text = [{"type": "text", "text": turn.text}] if turn.text else []
    return text + [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in images]


def _data_url(image: Image) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def _result(result: ToolResult, waiting: dict[str, str]) -> dict[str, Any]:
    answers = result.id if result.id in waiting else None
    if answers is None and not result.id:
        answers = next((each for each, name in waiting.items() if result.name in ("", name)), None)
    text = f"error: {result.text}" if result.error else result.text
    if answers is None:
        return {"role": "user", "content": f"[{result.name or 'tool'}]\n{text}"}
    del waiting[answers]
    return {"role": "tool", "tool_call_id": answers, "content": text}


def _unanswered(waiting: dict[str, str]) -> list[dict[str, Any]]:
    missing = [{"role": "tool", "tool_call_id": each, "content": "error: no result"} for each in waiting]
    waiting.clear()
    return missing


def bounds_of(turns: Sequence[Turn], tools: Sequence[ToolSpec]) -> Rendered:
    """At most how many tokens head, turns and tail are: a byte of UTF-8 is one token at most; templates add some."""
    head = EDGE_TOKENS + (TOOLS_TOKENS + len(_json([tool_of(tool) for tool in tools])) if tools else 0)
    return Rendered(counts=(head, *(_bound(turn) for turn in turns), EDGE_TOKENS))


def _bound(turn: Turn) -> int:
    parts = len(turn.parts) * TURN_TOKENS
    calls = sum(len(_json(call.arguments)) + len(call.name.encode()) for call in turn.calls)
    images = sum(IMAGE_TOKENS for part in turn.parts if isinstance(part, Image))
    names = sum(len(part.name.encode()) for part in turn.parts if isinstance(part, ToolResult))
    return TURN_TOKENS + parts + len(turn.text.encode()) + calls + images + names


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
