"""A small OpenAI-compatible server: `python -m tests.openai_server --fd N [--key KEY] [--models a,b]`.

It is a real HTTP server in an OS process of its own (Starlette on hypercorn, trio). Its model is a word chain that
depends on the messages, the seed and the temperature, token by token; a token is a word or a mark with the white space
before it. It honours max_tokens, stop, seed, tools, stream and stream_options, and counts usage. What the last message
says can steer it: `say: TEXT`; `call: NAME JSON` (one line a call, if the tools are given); `fault: NAME` (see FAULTS);
`slow: TEXT` (says it and then hangs until the client leaves). GET /stats tells how many streams ended and were left.
"""

import argparse
import hashlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Literal, final

import httpx
import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WINDOW_TOKENS = 2048
WORDS = ("the", "ship", "lies", "in", "a", "quiet", "harbour", "where", "small", "boats", "rest", "until", "dawn", ".")
TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")


@final
class Asked(Struct):
    """A request of the chat completions API; other fields are passed over."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = 1.0
    seed: int = 0
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None

    @property
    def last(self) -> str:
        return text_of(self.messages[-1])

    @property
    def limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 256

    @property
    def prompt_tokens(self) -> int:
        return sum(3 + len(TOKEN.findall(text_of(each))) for each in self.messages)


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, its text parts joined."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@final
class Said(Struct):
    """A whole answer: tokens, calls, and how it ended."""

    tokens: list[str]
    calls: list[tuple[str, str]]
    finish: Literal["stop", "length", "tool_calls"]
    stop_reason: str | None


def answer(asked: Asked) -> Said:
    """What the model says."""
    calls = called(asked)
    if calls:
        return Said(["I", " will", " look", "."], calls, "tool_calls", None)
    tokens, hit = cut(_tokens(asked), asked.stop)
    if len(tokens) > asked.limit:
        return Said(tokens[: asked.limit], [], "length", None)
    return Said(tokens, [], "stop", hit)


def called(asked: Asked) -> list[tuple[str, str]]:
    """The calls that the last message asks for, of tools that were given."""
    known = {tool["function"]["name"] for tool in asked.tools or ()}
    found = re.findall(r"^call: (\w+) (.*)$", asked.last, re.MULTILINE)
    return [(name, arguments) for name, arguments in found if name in known]


def _tokens(asked: Asked) -> list[str]:
    if asked.last.startswith(("say: ", "slow: ")):
        return TOKEN.findall(asked.last.partition(": ")[2])
    told = json.dumps([asked.messages, asked.seed if asked.temperature else 0, asked.temperature]).encode()
    count = 20 + hashlib.blake2b(told).digest()[0] % 60
    draws = (hashlib.blake2b(told, key=str(n).encode()).digest()[0] for n in range(count))
    return [("" if n == 0 else " ") + WORDS[draw % len(WORDS)] for n, draw in enumerate(draws)]


def cut(tokens: list[str], stop: str | list[str] | None) -> tuple[list[str], str | None]:
    """The tokens before the first stop string, and which it was."""
    words = [stop] if isinstance(stop, str) else stop or []
    text = "".join(tokens)
    hits = [(text.index(word), word) for word in words if word in text]
    if not hits:
        return tokens, None
    at, word = min(hits)
    return TOKEN.findall(text[:at]), word


def chunk(asked: Asked, **choice: Any) -> dict[str, Any]:
    """One event of a stream."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": asked.model,
        "choices": [{"index": 0, "finish_reason": None, **choice}],
    }


def chunks_of(asked: Asked, said: Said, *, usage: bool) -> Iterator[dict[str, Any]]:
    """The events of an answer; the arguments of calls come in pieces."""
    yield chunk(asked, delta={"role": "assistant", "content": ""})
    for token in said.tokens:
        yield chunk(asked, delta={"content": token})
    for n, (name, arguments) in enumerate(said.calls):
        opened = {"index": n, "id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": ""}}
        yield chunk(asked, delta={"tool_calls": [opened]})
        for at in range(0, len(arguments), 5):
            piece = {"index": n, "function": {"arguments": arguments[at : at + 5]}}
            yield chunk(asked, delta={"tool_calls": [piece]})
    yield chunk(asked, delta={}, finish_reason=said.finish, stop_reason=said.stop_reason)
    if usage:
        yield {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage_of(asked, said)}


def usage_of(asked: Asked, said: Said) -> dict[str, Any]:
    """What it cost."""
    made = len(said.tokens) + sum(len(arguments) for _, arguments in said.calls)
    return {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": made,
        "total_tokens": asked.prompt_tokens + made,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def refuse(status: int, message: str, *, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "code": status}}, status, headers)


HTML = "<!DOCTYPE html><html><body>Welcome to nginx!</body></html>"
REFUSALS: dict[str, Response] = {
    "429": refuse(429, "Rate limit reached", headers={"Retry-After": "7"}),
    "500": refuse(500, "CUDA error: out of memory"),
    "503": Response("overloaded", 503),
    "400": refuse(400, "temperature is not supported"),
    "redirect": Response(status_code=307, headers={"location": "http://127.0.0.1:1/v1/chat/completions"}),
    "html": HTMLResponse(HTML),
    "html502": HTMLResponse(HTML, 502),
    "json": JSONResponse({"hello": "world"}),
}
FAULTS = (*REFUSALS, "garbage", "not-events", "midclose", "error-event", "no-done", "no-finish", "no-usage", "filter",
          "bytewise", "crlf")  # fmt: skip


class Midclose(Exception):
    """Breaks the connection in mid-answer."""


@final
class Api:
    """The endpoints."""

    def __init__(self, *, models: list[str], key: str) -> None:
        self._models = models
        self._key = key
        self._stats = {"ended": 0, "left": 0, "running": 0}
        self.seen: list[dict[str, Any]] = []

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/completions", self.complete, methods=["POST"]),
                Route("/stats", self.stats),
                Route("/seen", self.last_seen),
                Route("/", lambda request: HTMLResponse(HTML)),
                Route("/html/models", lambda request: HTMLResponse(HTML)),
            ]
        )

    async def models(self, request: Request) -> Response:
        if not self._allowed(request):
            return refuse(401, "Incorrect API key provided")
        data = [{"id": name, "object": "model", "max_model_len": WINDOW_TOKENS} for name in self._models]
        return JSONResponse({"object": "list", "data": data})

    async def stats(self, request: Request) -> Response:
        return JSONResponse(self._stats)

    async def last_seen(self, request: Request) -> Response:
        """The last request, as it came."""
        return JSONResponse(self.seen[-1])

    async def chat(self, request: Request) -> Response:
        if not self._allowed(request):
            return refuse(401, "Incorrect API key provided")
        body = await request.json()
        self.seen.append(body)
        asked = parse(body)
        if asked.model not in self._models:
            return refuse(404, f"The model `{asked.model}` does not exist.")
        if asked.prompt_tokens + asked.limit > WINDOW_TOKENS:
            asks = f"However, you requested {asked.prompt_tokens + asked.limit} tokens"
            return refuse(400, f"This model's maximum context length is {WINDOW_TOKENS} tokens. {asks}.")
        fault = asked.last.removeprefix("fault: ") if asked.last.startswith("fault: ") else ""
        if fault in REFUSALS:
            return REFUSALS[fault]
        if asked.stream:
            return StreamingResponse(self._stream(asked, fault), media_type="text/event-stream")
        said = answer(asked)
        message = {"role": "assistant", "content": "".join(said.tokens)}
        choice = {"index": 0, "message": message, "finish_reason": said.finish, "stop_reason": said.stop_reason}
        return JSONResponse({"object": "chat.completion", "choices": [choice], "usage": usage_of(asked, said)})

    async def complete(self, request: Request) -> Response:
        """The older API, for what it alone has: the log-probabilities of an echoed prompt, each token half as likely as
        the one before; words of the chain are greedy. A prompt with `no-echo` is answered as by a server without."""
        body = await request.json()
        self.seen.append(body)
        tokens = TOKEN.findall(body["prompt"])
        if "too long" in body["prompt"]:
            return refuse(400, f"This model's maximum context length is {WINDOW_TOKENS} tokens.")
        if "no-echo" in body["prompt"]:
            return JSONResponse({"choices": [{"text": "x", "logprobs": None}], "usage": {"total_tokens": 1}})
        said = [*tokens, " dawn"]
        offsets = [sum(map(len, said[:n])) for n in range(len(said))]
        own = [None, *(-float(n) for n in range(1, len(said)))]
        tops = [None, *({token if token.strip() in WORDS else "?": -float(n) if token.strip() in WORDS else 0.0}
                        for n, token in enumerate(said[1:], 1))]  # fmt: skip
        logprobs = {"tokens": said, "token_logprobs": own, "text_offset": offsets, "top_logprobs": tops}
        choice = {"text": "".join(said), "logprobs": logprobs}
        return JSONResponse({"choices": [choice], "usage": {"total_tokens": len(said)}})

    async def _stream(self, asked: Asked, fault: str) -> AsyncIterator[bytes]:
        ended = False
        self._stats["running"] += 1
        try:
            async for piece in self._pieces(asked, fault):
                yield piece
            ended = True
        finally:
            self._stats["running"] -= 1
            self._stats["ended" if ended else "left"] += 1

    async def _pieces(self, asked: Asked, fault: str) -> AsyncIterator[bytes]:
        usage = bool((asked.stream_options or {}).get("include_usage")) and fault != "no-usage"
        events = [event(each) for each in chunks_of(asked, answer(asked), usage=usage)]
        match fault:
            case "garbage":
                yield event(b'{"choices": [{"del')
            case "not-events":
                yield b"\x00\x01 hello\n\n"
            case "error-event":
                yield events[0] + event({"error": {"message": "engine died", "code": 500}})
            case "filter":
                yield events[1] + event(chunk(asked, delta={}, finish_reason="content_filter")) + event(b"[DONE]")
            case "no-finish":
                yield b"".join(events[:4])
            case "midclose":
                yield b"".join(events[:4])
                raise Midclose
            case "no-done":
                yield b"".join(events)[:-2]
            case "bytewise":
                for byte in b": comment\n\nevent: message\n" + b"".join(events) + event(b"[DONE]"):
                    yield bytes([byte])
            case "crlf":
                yield (b"".join(events) + event(b"[DONE]")).replace(b"\n", b"\r\n")
            case _:
                for each in events[:-2] if asked.last.startswith("slow: ") else events:
                    yield each
                    await trio.lowlevel.checkpoint()
                if asked.last.startswith("slow: "):
                    await trio.sleep_forever()
                yield event(b"[DONE]")

    def _allowed(self, request: Request) -> bool:
        return not self._key or request.headers.get("authorization") == f"Bearer {self._key}"


def parse(body: dict[str, Any]) -> Asked:
    """The request, typed; what the API demands of messages is demanded."""
    asked = msgspec.convert(body, Asked)
    open_calls: set[str] = set()
    for message in asked.messages:
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls, "calls without a result"
        open_calls = {call["id"] for call in message.get("tool_calls") or ()}
    return asked


async def main() -> None:
    """Serves until it is killed, or its standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--models", default="chain-1")
    chosen = parser.parse_args()
    config = Config()
    config.bind = [f"fd://{chosen.fd}"]
    config.loglevel = "CRITICAL"
    app = Api(models=[name for name in chosen.models.split(",") if name], key=chosen.key).app()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, app, config)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


@final
class Running:
    """A server that runs, and where."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/v1"

    def ask(self, path: str) -> Any:
        """GET, as JSON."""
        return httpx.get(f"{self.root}{path}", trust_env=False).json()


@contextmanager
def running(*arguments: str) -> Iterator[Running]:
    """Starts a server on a free port; its socket listens before this returns."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "tests.openai_server", "--fd", str(listening.fileno()), *arguments]
        process = subprocess.Popen(command, pass_fds=[listening.fileno()], stdin=subprocess.PIPE)
    try:
        yield Running(port)
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    trio.run(main)
