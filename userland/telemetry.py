"""OpenTelemetry spans from the kernel's trace: a process is a span, and what it asked of models and tools are its
children, under the names that the conventions for generative AI give them.

What was said does not leave the machine: arguments and results are no attributes. Times are the kernel's own.
"""

from collections.abc import Iterable, Sequence
from typing import final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from syscalls.calls.kernel import TraceRecord
from syscalls.calls.process import ProcessInfo

Attribute = str | int | float | tuple[str, ...]
PROVIDER = "kernos"
_CHATS = frozenset({"context.generate", "model.generate"})


@final
class Counted(SpanExporter):
    """Counts what the exporter below it could not deliver."""

    def __init__(self, below: SpanExporter) -> None:
        self._below = below
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._below.export(spans)
        self.lost += len(spans) if result is not SpanExportResult.SUCCESS else 0
        return result

    def shutdown(self) -> None:
        self._below.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._below.force_flush(timeout_millis)


def provider(exporter: SpanExporter, *, version: str) -> TracerProvider:
    """A provider that sends batches to `exporter`, from a thread of its own."""
    made = TracerProvider(resource=Resource.create({"service.name": "kernos", "service.version": version}))
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made


@final
class Spans:
    """Turns trace records into spans. `epoch_s` is the date of the kernel's second 0; with `calls` every system call
    is a span, not only those of models and tools."""

    def __init__(self, tracer: Tracer, *, epoch_s: float, calls: bool = False) -> None:
        self._tracer = tracer
        self._epoch_s = epoch_s
        self._calls = calls
        self._processes: dict[int, Span] = {}

    def know(self, processes: Iterable[ProcessInfo]) -> None:
        """Processes that were there before the first record: parents first."""
        for info in sorted(processes, key=lambda each: each.pid):
            if info.kind == "program":
                self._begin(info.pid, info.ppid, info.name, info.started_s)

    def take(self, record: TraceRecord) -> None:
        """One record of kernel.trace."""
        if record.kind == "spawn" and record.detail.get("type") == "program":
            self._begin(record.pid, int(record.detail.get("parent", "0")), record.detail.get("name", ""), record.at_s)
        elif record.kind == "exit":
            self._end(record)
        elif record.kind == "call":
            self._call(record)

    def finish(self, at_s: float) -> None:
        """Nothing more will be heard: processes that still run end here, and say so."""
        for span in self._processes.values():
            span.set_attribute("kernos.unfinished", True)
            span.end(self._ns(at_s))
        self._processes.clear()

    def _begin(self, pid: int, parent: int, name: str, at_s: float) -> None:
        if pid in self._processes:
            return
        attributes: dict[str, Attribute] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.agent.name": name,
            "kernos.pid": pid,
        }
        self._processes[pid] = self._tracer.start_span(
            f"invoke_agent {name}", self._below(parent), SpanKind.INTERNAL, attributes, start_time=self._ns(at_s)
        )

    def _end(self, record: TraceRecord) -> None:
        span = self._processes.pop(record.pid, None)
        if span is None:
            return
        status = record.detail.get("status", "done")
        span.set_attribute("kernos.exit.status", status)
        if status != "done":
            span.set_attribute("error.type", status)
            span.set_status(Status(StatusCode.ERROR, status))
        span.end(self._ns(record.at_s))

    def _call(self, record: TraceRecord) -> None:
        named = _named(record)
        if named is None:
            if not self._calls:
                return
            named = record.name, SpanKind.INTERNAL, {}
        name, kind, attributes = named
        span = self._tracer.start_span(
            name, self._below(record.pid), kind, {**attributes, **_common(record)},
            start_time=self._ns(record.at_s - record.took_s),
        )  # fmt: skip
        if record.errno:
            span.set_attribute("error.type", record.errno)
            span.set_status(Status(StatusCode.ERROR, record.errno))
        span.end(self._ns(record.at_s))

    def _below(self, pid: int) -> Context | None:
        span = self._processes.get(pid)
        return None if span is None else otel.set_span_in_context(span, Context())

    def _ns(self, at_s: float) -> int:
        return int((self._epoch_s + at_s) * 1e9)


def _named(record: TraceRecord) -> tuple[str, SpanKind, dict[str, Attribute]] | None:
    """Name, kind and attributes of the spans that the conventions know."""
    facts = record.detail
    model = facts.get("model", "")
    if record.name in _CHATS:
        attributes: dict[str, Attribute] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "gen_ai.usage.input_tokens": record.prompt_tokens,
            "gen_ai.usage.output_tokens": record.generated_tokens,
            "gen_ai.usage.cache_read.input_tokens": int(facts.get("cached_tokens", "0")),
        }
        if "finish" in facts:
            attributes["gen_ai.response.finish_reasons"] = (facts["finish"],)
        if "context" in facts:
            attributes["gen_ai.conversation.id"] = f"{record.pid}:{facts['context']}"
        return f"chat {model}".strip(), SpanKind.CLIENT, attributes
    if record.name == "model.embed":
        return (
            f"embeddings {model}".strip(),
            SpanKind.CLIENT,
            {
                "gen_ai.operation.name": "embeddings",
                "gen_ai.request.model": model,
                "gen_ai.usage.input_tokens": record.prompt_tokens,
            },
        )
    if record.name == "device.call":
        tool = facts.get("tool", "")
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool,
            "gen_ai.tool.call.id": str(record.call),
        }
        return f"execute_tool {tool}".strip(), SpanKind.INTERNAL, attributes
    return None


def _common(record: TraceRecord) -> dict[str, Attribute]:
    return {
        "gen_ai.provider.name": PROVIDER,
        "kernos.call": record.name,
        "kernos.pid": record.pid,
        "kernos.account": record.account,
        "kernos.right": record.right,
        "kernos.queued_s": record.queued_s,
        "kernos.driver_s": record.driver_s,
    }
