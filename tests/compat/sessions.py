"""What is recorded of each family: the steps of a client, and how its bytes are read without today's types."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import msgspec
from msgspec import Struct, msgpack

FOLDER = Path(__file__).parent / "abi1"
CONFIG = """
embedding = "hash"
store = "memory"

[models.sim]
origin = "sim:"

[models.sim.options]
script = '["a small cup", "another cup", "a third"]'
"""
HELLO, CALL, REPLY, ERROR, ITEMS, END, CREDIT, CANCEL, EVENT, CHUNK, BYE = range(11)
"""The kinds of frames of ABI 1, written down here and not imported: a renumbering must not be followed."""


@final
class Ref(Struct, frozen=True):
    """Stands for a field of an earlier step's result: pids and handles differ from kernel to kernel."""

    step: int
    field: str


@final
class Step(Struct, frozen=True):
    """One call. `items` None: until it ends; else it is cancelled after so many items. `begin`: nobody waits for it
    until the session ends."""

    name: str
    args: dict[str, Any] = {}
    credit: int = 0
    items: int | None = None
    begin: bool = False


@final
class Heard(Struct):
    """A step as it crossed the wire: the CALL as bytes, where in its arguments an earlier result stood, and the frames
    that answered it."""

    name: str
    call: bytes
    refs: dict[str, Ref]
    frames: list[bytes]
    items: int | None = None
    begin: bool = False


TURN = {"role": "user", "parts": [{"type": "text", "text": "what holds tea?"}]}
SESSIONS: dict[str, list[Step]] = {
    "process": [
        Step("process.self"),
        Step("process.spawn", {"program": "chat", "name": "recorded", "budget": {"tokens": 1000}}),
        Step("process.list", {"all": True}),
        Step("process.nice", {"pid": Ref(1, "pid"), "nice": 5}),
        Step("process.note", {"note": "at it", "done": 1, "total": 2}),
        Step("process.output", {"stream": "stdout", "text": "a line\n"}),
        Step("process.logs", {"pid": Ref(0, "pid")}, credit=8),
        Step("process.wait", {"pid": Ref(1, "pid"), "timeout_s": 0.01}),
        Step("process.kill", {"pid": Ref(1, "pid"), "signal": 9}),
        Step("process.wait", {"pid": Ref(1, "pid"), "timeout_s": 20.0}),
        Step("process.wait", {"pid": 999_999}),
        Step("process.kill", {"pid": 999_999}),
        Step("process.kill", {"pid": Ref(0, "pid"), "signal": 77}),
        Step("process.spawn", {"program": "no-such-program"}),
    ],
    "exec": [
        Step("message.pipe", {"capacity_bytes": 4096}),
        Step(
            "process.exec",
            {
                "path": "/bin/sh",
                "argv": ["sh", "-c", "echo $A; exit 3"],
                "env": {"A": "b"},
                "rights": [],
                "stdout": Ref(0, "pipe"),
            },
        ),
        Step("message.read", {"pipe": Ref(0, "pipe")}),
        Step("process.wait", {"pid": Ref(1, "pid"), "timeout_s": 20.0}),
        Step(
            "process.exec", {"path": "/bin/cat", "argv": ["cat"], "rights": [], "terminal": {"rows": 24, "columns": 80}}
        ),
        Step("process.kill", {"pid": Ref(4, "pid"), "signal": 9}),
        Step("process.exec", {"path": "sh", "argv": ["sh"]}),
        Step("device.resize", {"pid": Ref(1, "pid"), "rows": 24, "columns": 80}),
    ],
    "context": [
        Step("context.open", {"name": "recorded", "reserve_tokens": 64}),
        Step("context.append", {"context": Ref(0, "context"), "turns": [TURN]}),
        Step("context.generate", {"context": Ref(0, "context"), "max_tokens": 8}, credit=64),
        Step("context.append", {"context": Ref(0, "context"), "turns": [TURN], "expect_version": 77}),
        Step("context.append", {"context": Ref(0, "context"), "turns": [TURN], "resident": False}),
        Step("context.recall", {"context": Ref(0, "context"), "query": "tea", "k": 2}),
        Step("context.stat", {"context": Ref(0, "context")}),
        Step("context.fork", {"context": Ref(0, "context")}),
        Step("context.close", {"context": Ref(7, "context")}),
        Step("context.close", {"context": Ref(0, "context")}),
        Step("context.stat", {"context": Ref(0, "context")}),
        Step("context.read", {"context": 0, "page": "0" * 32}),
        Step("context.open", {"model": "no-such-model"}),
    ],
    "model": [
        Step("model.list"),
        Step("model.info", {"model": "sim"}),
        Step("model.info", {"model": "no-such-model"}),
        Step("model.generate", {"turns": [TURN], "max_tokens": 8, "seed": 7}, credit=64),
        Step("model.generate", {"turns": [TURN], "max_tokens": 0}, credit=64),
        Step("model.embed", {"texts": ["tea", "a cup"]}),
        Step("model.add", {"name": "again", "origin": "sim:", "driver": "sim"}),
    ],
    "message": [
        Step("process.self"),
        Step("message.send", {"pid": Ref(0, "pid"), "body": {"n": 1}, "topic": "t"}),
        Step("message.receive", {"topic": "t"}),
        Step("message.receive", {"timeout_s": 0.01}),
        Step("message.pipe"),
        Step("message.write", {"pipe": Ref(4, "pipe"), "data": b"tea"}),
        Step("message.read", {"pipe": Ref(4, "pipe")}),
        Step("message.read", {"pipe": 999_999}),
        Step("message.subscribe", {"topic": "cups"}, credit=4, begin=True),
        Step("message.publish", {"topic": "cups", "body": "full"}),
    ],
    "device": [
        Step("device.list"),
        Step("device.list", {"kind": "model"}),
        Step("device.call", {"device": "calculator", "method": "calculate", "arguments": {"expression": "2+2"}}),
        Step("device.call", {"device": "calculator", "method": "no-such-method"}),
        Step("device.call", {"device": "no-such-tool", "method": "x"}),
    ],
    "time": [
        Step("time.now"),
        Step("time.sleep", {"seconds": 0.01}),
        Step("time.sleep", {"seconds": -1.0}),
        Step("time.alarm", {"seconds": 1000.0}),
        Step("time.cancel", {"alarm": Ref(3, "alarm")}),
        Step("time.timer", {"every_s": 0.01, "count": 2}, credit=4),
    ],
    "process-many": [
        Step("process.spawn_many", {"program": "chat", "args": [[], []], "budget": {"tokens": 10}}),
        Step("process.wait", {"timeout_s": 0.01}),
        Step("process.spawn_many", {"program": "no-such-program", "args": [[]]}),
    ],
    "context-kept": [
        Step("context.open", {"reserve_tokens": 64}),
        Step("context.append", {"context": Ref(0, "context"), "turns": [TURN]}),
        Step("context.append", {"context": Ref(0, "context"), "turns": [TURN], "resident": False}),
        Step("context.advise", {"context": Ref(0, "context"), "advice": "pin", "pages": Ref(2, "pages")}),
        Step("context.advise", {"context": Ref(0, "context"), "advice": "pin"}),
        Step("context.save", {"context": Ref(0, "context"), "name": "kept"}),
        Step("context.list"),
        Step("context.forget", {"name": "no-such-context"}),
        Step("context.close", {"context": Ref(0, "context")}),
        Step("context.forget", {"name": "kept"}),
    ],
    "model-verbs": [
        Step("model.load", {"model": "sim"}),
        Step("model.tokenize", {"text": "a small cup"}),
        Step("model.score", {"prompt": "a small ", "continuations": ["cup", "ring"]}),
        Step("model.unload", {"model": "sim", "timeout_s": 5.0}),
        Step("model.unload", {"model": "no-such-model"}),
    ],
    "device-handles": [
        Step("device.open", {"device": "calculator"}),
        Step(
            "device.stream",
            {"device": "calculator", "method": "calculate", "arguments": {"expression": "2+3"}},
            credit=8,
        ),
        Step("device.close", {"handle": Ref(0, "handle")}),
        Step("device.close", {"handle": Ref(0, "handle")}),
        Step("device.open", {"device": "no-such-device"}),
    ],
    "device-parsers": [
        Step("device.parsers"),
        Step("device.parse", {"parser": "no-such.parser", "data": b"x"}),
    ],
    "message-ends": [
        Step("process.self"),
        Step("message.pipe"),
        Step("message.give", {"pipe": Ref(1, "pipe"), "end": "reader", "pid": Ref(0, "pid"), "keep": True}),
        Step("message.close", {"pipe": Ref(1, "pipe")}),
        Step("message.close", {"pipe": Ref(1, "pipe")}),
    ],
    "file": [
        Step("file.mkdir", {"path": "~/tea"}),
        Step("file.write", {"path": "~/tea/cup", "data": b"full"}),
        Step("file.stat", {"path": "~/tea/cup"}),
        Step("file.read", {"path": "~/tea/cup"}, credit=8),
        Step("file.open", {"path": "~/tea/cup"}),
        Step("file.read", {"file": Ref(4, "file"), "offset": 1, "count": 2}, credit=8),
        Step("file.close", {"file": Ref(4, "file")}),
        Step("file.close", {"file": Ref(4, "file")}),
        Step("file.list", {"path": "~/tea"}, credit=8),
        Step("file.rename", {"path": "~/tea/cup", "to": "~/tea/pot"}),
        Step("file.remove", {"path": "~/tea/pot"}),
        Step("file.stat", {"path": "~/tea/pot"}),
        Step("file.read", {"path": "~/../escape"}, credit=8),
    ],
    "net": [
        Step("net.fetch", {"url": "http://127.0.0.1:9/"}, credit=8),
        Step("net.fetch", {"url": "no url"}, credit=8),
    ],
    "account": [
        Step("account.usage"),
        Step("account.usage", {"account": "no-such-account"}),
        Step("account.limit", {"account": "no-such-account", "limits": {"tokens": 5}}),
        Step("account.transfer", {"source": "no-such", "target": "neither", "amounts": {"tokens": 1}}),
    ],
    "capability": [
        Step("process.self"),
        Step("process.spawn", {"program": "chat", "rights": ["model:*"]}),
        Step("capability.list"),
        Step("capability.attenuate", {"right": "model:sim generate", "life_s": 60.0, "uses": 3}),
        Step("capability.attenuate", {"right": "no right at all ::"}),
        Step("capability.grant", {"pid": Ref(1, "pid"), "right": "kernel:info info", "why": "to look"}),
        Step("capability.held", {"pid": Ref(1, "pid")}),
        Step("capability.revoke", {"capability": Ref(5, "capability"), "why": "enough"}),
        Step("capability.revoke", {"capability": 999_999}),
        Step("capability.request", {"right": "kernel:info info", "reason": "to look", "timeout_s": 5.0}),
        Step("capability.requests", {}, credit=8),
        Step("capability.answer", {"request": 999_999, "allow": False}),
        Step("capability.forget", {"request": 999_999}),
    ],
    "kernel-watch": [
        Step("kernel.report", {"text": "a line", "level": "info"}),
        Step("kernel.log", {}, credit=64),
        Step("kernel.events", {}, credit=64),
        Step("kernel.metrics"),
    ],
    "kernel-packages": [Step("kernel.packages"), Step("kernel.packages", {"look": True})],
    "kernel-calls": [Step("kernel.calls"), Step("kernel.calls", {"package": "no-such-package"})],
    "kernel": [
        Step("kernel.info"),
        Step("kernel.trace", {"follow": True}, credit=2, items=2),
        Step("kernel.no_such_call"),
        Step("kernel.info", {"no_such_field": 1}),
        Step("kernel.shutdown", {"grace_s": -1.0}),
    ],
}
"""A file is recorded once and never again. New calls get a session of their own, under a name that is not there yet."""


@final
class Client:
    """Speaks ABI 1 over a socket in bytes, knowing of it only what was true when it was recorded."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(60)
        self._sock.connect(str(path))
        self._buffer = b""
        self._heard: dict[int, list[bytes]] = {}
        self.hello: bytes = b""
        self.send(msgpack.encode([HELLO, 1, [], b"", b"", {}]))
        self.hello = self._frame()

    def send(self, body: bytes) -> None:
        self._sock.sendall(len(body).to_bytes(4, "big") + body)

    def outcome(self, call_id: int, *, items: int | None) -> list[bytes]:
        """The frames that answer a call, to its end; it is cancelled after so many items."""
        count = total = 0
        while True:
            for body in self._heard.pop(call_id, []) or [self._next(call_id)]:
                frames = self._heard.setdefault(-call_id, [])
                frames.append(body)
                kind, *rest = msgpack.decode(body)
                if kind in (REPLY, ERROR, END):
                    return self._heard.pop(-call_id)
                count += len(rest[1]) if kind == ITEMS else 0
            total += count
            if items is not None and total >= items:
                self.send(msgpack.encode([CANCEL, call_id, "enough"]))
                items = None
            elif count:
                self.send(msgpack.encode([CREDIT, call_id, count]))
                count = 0

    def so_far(self, call_id: int) -> list[bytes]:
        """What has come for a call that nobody waited for."""
        return self._heard.pop(call_id, [])

    def close(self) -> None:
        self._sock.close()

    def _next(self, call_id: int) -> bytes:
        while True:
            body = self._frame()
            kind, *rest = msgpack.decode(body)
            if kind in (REPLY, ERROR, ITEMS, END) and rest[0] == call_id:
                return body
            if kind in (REPLY, ERROR, ITEMS, END):
                self._heard.setdefault(rest[0], []).append(body)
            if kind == BYE:
                raise AssertionError(f"the kernel said BYE: {rest}")

    def _frame(self) -> bytes:
        while len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[:4], "big"):
            data = self._sock.recv(1 << 16)
            if not data:
                raise AssertionError("the kernel hung up")
            self._buffer += data
        end = 4 + int.from_bytes(self._buffer[:4], "big")
        body, self._buffer = self._buffer[4:end], self._buffer[end:]
        return body


def play(client: Client, calls: Sequence[Heard]) -> Iterator[list[bytes]]:
    """Sends each recorded CALL, with earlier results put where they stood; yields the frames that answer it today."""
    results: list[dict[str, Any]] = []
    begun: list[tuple[int, int]] = []
    answers: list[list[bytes]] = []
    for number, each in enumerate(calls, 1):
        client.send(patched(each, results))
        if each.begin:
            begun.append((number, len(answers)))
            answers.append([])
            results.append({})
            continue
        frames = client.outcome(number, items=each.items)
        answers.append(frames)
        results.append(result_of(frames))
    for number, at in begun:
        client.send(msgpack.encode([CANCEL, number, "enough"]))
        answers[at] = client.outcome(number, items=None)
    yield from answers


def patched(each: Heard, results: Sequence[dict[str, Any]]) -> bytes:
    """The CALL as it is sent now: the recorded bytes themselves where nothing in them is another kernel's."""
    if not each.refs:
        return each.call
    frame = msgpack.decode(each.call)
    for field, ref in each.refs.items():
        frame[4][field] = results[ref.step][ref.field]
    return msgpack.encode(frame)


def result_of(frames: Sequence[bytes]) -> dict[str, Any]:
    """The fields of what a call returned; none where it was refused."""
    kind, *rest = msgpack.decode(frames[-1])
    return rest[1] if kind in (REPLY, END) and isinstance(rest[1], dict) else {}


def load(path: Path) -> list[Heard]:
    """A recorded session."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[Heard])
