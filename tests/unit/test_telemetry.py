"""Spans: a process above what it asked of models and tools, named as the conventions say, and nothing that was said."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from kernos import Sys, program, user
from kernos.testing import up
from syscalls.calls import device, model
from syscalls.calls.kernel import TraceRecord
from syscalls.calls.process import ProcessInfo
from syscalls.errors import SyscallError
from userland.telemetry import Spans, provider


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    yield InMemorySpanExporter()


def exported(exporter: InMemorySpanExporter, records: Any, *, calls: bool = False, epoch_s: float = 0.0) -> list[Any]:
    sending = provider(exporter, version="1")
    spans = Spans(sending.get_tracer("kernos"), epoch_s=epoch_s, calls=calls)
    for record in records:
        spans.take(record)
    spans.finish(99.0)
    sending.shutdown()
    return list(exporter.get_finished_spans())


@program
async def outer(sys: Sys) -> str:
    child = await sys.spawn("inner")
    return (await child.ended()).status


@program
async def inner(sys: Sys) -> str:
    chat = await sys.open()
    await chat.append(user("the secret word is teapot"))
    said = (await chat.generate(max_tokens=8)).text
    await sys.call("model.embed", model.Embed(texts=("teapot",)))
    try:
        await sys.call("device.call", device.CallTool(device="nosuch", method="x"))
    except SyscallError:
        pass
    return said


async def test_a_program_that_chats_embeds_and_calls_a_tool(
    exporter: InMemorySpanExporter, autojump_clock: Any
) -> None:
    async with up(script=["a small cup"], model={"tokens_per_second": "4"}) as machine:
        machine.know(inner)
        await machine.run(outer)
        found = {span.name: span for span in exported(exporter, await machine.trace(), epoch_s=1000.0)}
    assert set(found) == {"invoke_agent outer", "invoke_agent inner", "chat sim@1", "embeddings sim",
                          "execute_tool nosuch.x"}  # fmt: skip
    chat = found["chat sim@1"]
    attributes = dict(chat.attributes)
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"] == "sim@1"
    assert attributes["gen_ai.response.finish_reasons"] in (("stop",), ("length",))
    assert attributes["gen_ai.usage.input_tokens"] > 0 < attributes["gen_ai.usage.output_tokens"]
    assert "gen_ai.usage.cache_read.input_tokens" in attributes
    assert attributes["gen_ai.conversation.id"]
    assert attributes["kernos.account"] == "inner"
    assert chat.kind is SpanKind.CLIENT
    assert (chat.end_time - chat.start_time) / 1e9 >= 0.5
    assert chat.start_time >= 1000e9
    below(chat, found["invoke_agent inner"])
    below(found["embeddings sim"], found["invoke_agent inner"])
    below(found["invoke_agent inner"], found["invoke_agent outer"])
    assert found["invoke_agent outer"].parent is None
    tool = found["execute_tool nosuch.x"]
    assert (tool.attributes["gen_ai.tool.name"], tool.attributes["error.type"]) == ("nosuch.x", "ENOENT")
    assert tool.status.status_code is StatusCode.ERROR
    assert "teapot" not in "".join(span.to_json() for span in found.values()), "what was said stays here"


def below(span: ReadableSpan, parent: ReadableSpan) -> None:
    assert span.parent is not None and parent.context is not None and span.context is not None
    assert span.parent.span_id == parent.context.span_id
    assert span.context.trace_id == parent.context.trace_id


CALLS = [
    TraceRecord(seq=1, at_s=1.0, kind="spawn", pid=7, detail={"parent": "2", "name": "x", "type": "program"}),
    TraceRecord(seq=2, at_s=2.0, kind="call", pid=7, name="time.sleep", took_s=0.5),
    TraceRecord(seq=3, at_s=2.5, kind="begun", pid=7, name="time.sleep"),
    TraceRecord(seq=4, at_s=3.0, kind="exit", pid=7, detail={"status": "killed", "code": "137"}),
]


def test_other_calls_only_where_asked_for(exporter: InMemorySpanExporter) -> None:
    spans = exported(InMemorySpanExporter(), CALLS)
    assert [span.name for span in spans] == ["invoke_agent x"]
    assert spans[0].status.status_code is StatusCode.ERROR
    assert spans[0].attributes["kernos.exit.status"] == "killed"
    slept, _ = exported(exporter, CALLS, calls=True)
    assert (slept.name, slept.start_time, slept.end_time) == ("time.sleep", 1_500_000_000, 2_000_000_000)


def test_what_still_runs_at_the_end_says_so_and_what_was_there_before_is_known(exporter: InMemorySpanExporter) -> None:
    sending = provider(exporter, version="1")
    spans = Spans(sending.get_tracer("kernos"), epoch_s=0.0)
    old = ProcessInfo(pid=5, ppid=2, principal="ada", kind="program", name="old", state="ready", started_s=1.0)
    spans.know([old])
    spans.take(TraceRecord(seq=1, at_s=2, kind="call", pid=5, name="model.generate", detail={"model": "m@1"}))
    spans.finish(9.0)
    sending.shutdown()
    chat, process = exporter.get_finished_spans()
    assert (chat.name, process.name) == ("chat m@1", "invoke_agent old")
    assert process.attributes is not None and process.attributes["kernos.unfinished"] is True
    assert (process.start_time, process.end_time) == (1_000_000_000, 9_000_000_000)
