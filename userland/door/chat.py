"""`POST /v1/chat/completions`: one generation of the process, whole or as it comes."""

import time
from collections.abc import AsyncGenerator
from typing import Any, final

import msgspec

from syscalls.calls.context import Generated, Usage
from syscalls.errors import SyscallError
from syscalls.turns import ToolCall
from userland.door import refusals
from userland.door.asked import Asked, parse
from userland.door.server import Response
from userland.sdk.context import Answer
from userland.sdk.system import Sys

_FINISH = {"stop": "stop", "stop_string": "stop", "length": "length", "calls": "tool_calls"}
_EVENTS = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))


@final
class Chat:
    """Each request is a call of model.generate: nothing of a conversation is kept here."""

    def __init__(self, sys: Sys) -> None:
        self._sys = sys
        self._answered = 0

    async def complete(self, body: bytes) -> Response:
        """Raises what model.generate raises before there is anything to tell, Invalid (EINVAL) for a request that asks
        for what is not done here."""
        asked = parse(body)
        self._answered += 1
        reply = _Reply(f"chatcmpl-{self._sys.pid}-{self._answered}", asked)
        answer = self._sys.generate(*asked.turns(), **asked.options())
        if not asked.stream:
            return Response(200, msgspec.json.encode(reply.whole(await answer)))
        # Before the status goes out: what is refused after it can only be told in the stream.
        first: str | None = await anext(answer, None)
        return Response(200, _events(answer, first, reply), _EVENTS)


async def _events(answer: Answer, first: str | None, reply: "_Reply") -> AsyncGenerator[bytes, None]:
    async with answer:
        yield _event(reply.chunk({"role": "assistant", "content": ""}))
        try:
            if first is not None:
                yield _event(reply.chunk({"content": first}))
                async for text in answer:
                    yield _event(reply.chunk({"content": text}))
            generated = await answer
        except SyscallError as failed:
            yield _event(refusals.object_of(failed))
            return
        calls = [{"index": at, **each} for at, each in enumerate(reply.calls(generated.calls))]
        if calls:
            yield _event(reply.chunk({"tool_calls": calls}))
        yield _event(reply.chunk({}, finish=_FINISH.get(generated.finish, "stop")))
        if reply.asked.wants_usage:
            yield _event({**reply.chunk({}), "choices": [], "usage": _usage(generated.usage)})
        yield b"data: [DONE]\n\n"


@final
class _Reply:
    """What all parts of one answer have in common."""

    def __init__(self, id_: str, asked: Asked) -> None:
        self.asked = asked
        self._id = id_
        self._created = int(time.time())

    def whole(self, generated: Generated) -> dict[str, Any]:
        calls = self.calls(generated.calls)
        message: dict[str, Any] = {"role": "assistant", "content": generated.text or (None if calls else "")}
        if calls:
            message["tool_calls"] = calls
        finish = _FINISH.get(generated.finish, "stop")
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(generated.usage)}

    def chunk(self, delta: dict[str, Any], *, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def calls(self, calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
        """Tool calls as the API has them; each has an id, its own or one of ours."""
        return [
            {
                "id": call.id or f"call-{self._id.removeprefix('chatcmpl-')}-{at}",
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for at, call in enumerate(calls)
        ]

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self.asked.model}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.generated_tokens,
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _event(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
