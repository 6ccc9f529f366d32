"""The doors of an executable: what is read of a request, what is answered, without a network."""

import json
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from syscalls.calls.capability import CapabilityInfo, Held
from syscalls.calls.device import DeviceInfo, Devices, ToolAnswer
from syscalls.calls.model import ModelInfo
from syscalls.calls.model import Models as Listed
from syscalls.errors import Invalid, NotFound, OverQuota, PermissionDenied, SyscallError, TryAgain
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.duplex import Duplex, NoServer
from syscalls.peer import Peer
from syscalls.turns import Image, Text, ToolCall, ToolResult, ToolSpec
from syscalls.wire import Hello
from tests.fakekernel import CHANNEL, PID, FakeKernel, said
from userland.door.asked import TOKENS_DEFAULT, parse
from userland.door.routes import Routes
from userland.door.server import Request, Response, serve
from userland.link import run
from userland.sdk.door import Door
from userland.sdk.system import Sys

KEY = "sk-kernos-test"
ASKED = {"model": "sim", "messages": [{"role": "user", "content": "What holds tea?"}]}


@asynccontextmanager
async def routes(**script: Callable[[Any], Any]) -> AsyncIterator[tuple[Routes, FakeKernel]]:
    """The doors of a process whose kernel answers by a script."""
    ours, theirs = trio.testing.memory_stream_pair()
    kernel = FakeKernel(ours, {name.replace("__", "."): answer for name, answer in script.items()})
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), theirs, NoServer(), trio.Event)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, kernel.link)
        nursery.start_soon(run, link)
        await kernel.link.greeted()
        yield Routes(Sys(Door(link, CHANNEL), pid=PID), key=KEY), kernel
        nursery.cancel_scope.cancel()


async def ask(doors: Routes, path: str, body: Any = None, *, method: str = "", key: str = KEY) -> tuple[Response, Any]:
    """One request; its answer, and that as JSON, or the events of a stream."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await doors(Request(method or ("GET" if body is None else "POST"), path, headers, raw))
    if isinstance(response.body, bytes):
        return response, json.loads(response.body) if response.body else None
    events = b"".join([piece async for piece in response.body]).split(b"\n\n")
    return response, [event.removeprefix(b"data: ") for event in events if event]


async def test_an_answer_is_one_generation_of_the_process() -> None:
    async with routes(model__generate=lambda args: said("A small", " cup.")) as (doors, kernel):
        asked = {**ASKED, "max_tokens": 9, "seed": 3, "stop": "!", "temperature": 0.5, "top_p": 0.9}
        response, told = await ask(doors, "/v1/chat/completions", asked)
        assert response.status == 200
        assert told["choices"][0]["message"] == {"role": "assistant", "content": "A small cup."}
        assert told["choices"][0]["finish_reason"] == "stop" and told["usage"]["total_tokens"] == 12
        (args,) = kernel.named("model.generate")
        assert (args.model, args.max_tokens, args.seed, args.stop, args.temperature, args.top_p, args.clip) == (
            *("sim", 9, 3, ("!",), 0.5, 0.9, False),
        )


async def test_a_stream_says_its_role_its_pieces_its_end_and_its_cost() -> None:
    async with routes(model__generate=lambda args: said("A small", " cup.")) as (doors, _):
        asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
        response, events = await ask(doors, "/v1/chat/completions", asked)
        assert dict(response.headers)["content-type"].startswith("text/event-stream")
        assert events[-1] == b"[DONE]"
        chunks = [json.loads(event) for event in events[:-1]]
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
        assert deltas == [{"role": "assistant", "content": ""}, {"content": "A small"}, {"content": " cup."}, {}]
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_have_ids_and_their_arguments_as_text(stream: bool) -> None:
    called = said(calls=(ToolCall("add", {"a": 1}),))
    async with routes(model__generate=lambda args: called) as (doors, kernel):
        tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
        _, told = await ask(doors, "/v1/chat/completions", {**ASKED, "tools": [tool], "stream": stream})
        found = json.loads(told[1]) if stream else told
        (call,) = found["choices"][0]["delta" if stream else "message"]["tool_calls"]
        assert call["function"] == {"name": "add", "arguments": '{"a":1}'} and call["id"]
        assert kernel.named("model.generate")[0].tools == (ToolSpec("add", "", {"type": "object"}),)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OverQuota("no more"), 429, "insufficient_quota"),
        (NotFound("no such model"), 404, "model_not_found"),
        (PermissionDenied("lacks the right"), 403, "permission_denied"),
        (Invalid("seed"), 400, "invalid_value"),
        (TryAgain("full"), 429, "rate_limit_exceeded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_has_the_status_that_clients_know(
    error: SyscallError, status: int, code: str, stream: bool
) -> None:
    def refused(args: Any) -> Any:
        raise error

    async with routes(model__generate=refused) as (doors, _):
        response, told = await ask(doors, "/v1/chat/completions", {**ASKED, "stream": stream})
        assert (response.status, told["error"]["code"]) == (status, code)
        assert dict(response.headers)["x-should-retry"] == str(code == "rate_limit_exceeded").lower()


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x"])
async def test_without_the_key_nothing_is_asked_of_the_kernel(key: str) -> None:
    async with routes() as (doors, kernel):
        response, told = await ask(doors, "/v1/chat/completions", ASKED, key=key)
        assert (response.status, told["error"]["code"]) == (401, "invalid_api_key")
        assert kernel.calls == []


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"messages": []}, "messages"),
        ({"n": 2}, "'n'"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "audio"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://x/"}]}]}, "data URL"),
        ({"messages": "x"}, "messages"),
    ],
)
async def test_what_is_not_done_is_refused_and_never_passed_over(changed: dict[str, Any], word: str) -> None:
    async with routes() as (doors, kernel):
        response, told = await ask(doors, "/v1/chat/completions", {**ASKED, **changed})
        assert response.status == 400 and word in told["error"]["message"]
        assert kernel.calls == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
async def test_what_is_no_request_is_told_so(body: bytes) -> None:
    async with routes() as (doors, _):
        assert (await ask(doors, "/v1/chat/completions", body))[0].status == 400


def test_messages_become_turns() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "what?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ]
    turns = parse(json.dumps({**ASKED, "messages": messages}).encode()).turns()
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool"]
    assert turns[1].parts == (Text("what?"), Image(b"hi", "image/png"))
    assert turns[2].calls == (ToolCall("add", {"a": 1}, "c1"),)
    assert turns[3].parts == (ToolResult("2", "add", "c1"),)


def test_who_names_no_most_gets_what_the_budget_pays_for() -> None:
    options = parse(json.dumps(ASKED).encode()).options()
    assert (options["max_tokens"], options["clip"]) == (TOKENS_DEFAULT, True)
    assert "temperature" not in options


async def test_the_models_that_generate_are_listed() -> None:
    models = (
        ModelInfo(ref="sim@1", driver="sim", origin=""),
        ModelInfo(ref="e@1", driver="x", origin="", can=("embed",)),
    )
    async with routes(model__list=lambda args: Listed(models=models)) as (doors, _):
        _, told = await ask(doors, "/v1/models")
        assert [each["id"] for each in told["data"]] == ["sim"]


RIGHTS = Held(capabilities=(CapabilityInfo(capability=1, right="tool:calculator.add call", pid=PID),))
TOOLS = Devices(
    devices=(
        DeviceInfo(
            name="calculator", kind="tool", driver="", state="ready", methods=(ToolSpec("add"), ToolSpec("sub"))
        ),
        DeviceInfo(name="glossary", kind="tool", driver="", state="ready", methods=(ToolSpec("lookup"),)),
    )
)


async def rpc(doors: Routes, method: str, params: dict[str, Any] | None = None) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    return (await ask(doors, "/mcp", body, key=""))[1]


async def test_mcp_lists_and_calls_the_granted_tools_alone() -> None:
    script: dict[str, Callable[[Any], Any]] = {
        "capability__list": lambda args: RIGHTS,
        "device__list": lambda args: TOOLS,
        "device__call": lambda args: ToolAnswer(text="2"),
    }
    async with routes(**script) as (doors, kernel):
        assert (await rpc(doors, "initialize", {"protocolVersion": "2025-06-18"}))["result"][
            "protocolVersion"
        ] == "2025-06-18"
        listed = (await rpc(doors, "tools/list"))["result"]["tools"]
        assert [each["name"] for each in listed] == ["calculator_add"]
        answered = await rpc(doors, "tools/call", {"name": "calculator_add", "arguments": {"a": 1}})
        assert answered["result"] == {"content": [{"type": "text", "text": "2"}], "isError": False}
        assert [(args.device, args.method) for args in kernel.named("device.call")] == [("calculator", "add")]
        refused = await rpc(doors, "tools/call", {"name": "calculator_sub", "arguments": {}})
        assert refused["error"]["code"] == -32602 and len(kernel.named("device.call")) == 1
        assert (await rpc(doors, "no/such"))["error"]["code"] == -32601
        response, _ = await ask(doors, "/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}, key="")
        assert response.status == 202
        assert (await ask(doors, "/mcp", b"{", key=""))[1]["error"]["code"] == -32700
        assert (await ask(doors, "/mcp", method="GET", key=""))[0].status == 405


@pytest.mark.parametrize(("path", "reads_s"), [("/", 0.0), ("/stream", 0.0), ("/stream", 0.3)])
async def test_a_client_that_breaks_off_ends_its_own_connection_and_no_other(path: str, reads_s: float) -> None:
    """It resets the connection: while it is thought about, or in the middle of an answer."""

    async def much() -> AsyncGenerator[bytes, None]:
        for _ in range(64):
            yield bytes(1 << 20)

    async def answer(request: Request) -> Response:
        if request.path != "/fine":
            await trio.sleep(0.1)
        return Response(200, much() if request.path == "/stream" else b"{}")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listening, answer)
            with socket.create_connection(listening.getsockname()) as rude:
                rude.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                await trio.sleep(0.05 + reads_s)
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.sleep(0.2)
            polite = await trio.open_tcp_stream(*listening.getsockname())
            async with polite:
                await polite.send_all(b"GET /fine HTTP/1.1\r\nhost: x\r\n\r\n")
                assert (await polite.receive_some()).startswith(b"HTTP/1.1 200")
            nursery.cancel_scope.cancel()
