"""`kernos otel`: the trace as OpenTelemetry spans, sent to a collector."""

import contextlib

import click

from syscalls.calls import clock, kernel, process
from userland.cli.failures import NO_CONNECTION, Failure, say
from userland.cli.options import SETTINGS, which_kernel
from userland.cli.output import show_value
from userland.cli.session import Session

_FROM_NOW = 2**62
_ENDPOINT = "http://localhost:4318/v1/traces"


@click.command(
    context_settings=SETTINGS,
    epilog=f"""\b
Needs: pip install 'kernos[otel]'

\b
Examples:
  kernos otel                                to {_ENDPOINT}, until Ctrl-C
  kernos otel --endpoint http://collector:4318/v1/traces
  kernos otel --ring --once                  what the kernel remembers, and no more
""",
)
@click.option("--endpoint", metavar="URL", help="OTLP over HTTP  [env: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT]")
@click.option("--calls", is_flag=True, help="Every system call as a span, not only those of models and tools")
@click.option("--ring", is_flag=True, help="Begin with what the kernel remembers, not with what happens next")
@click.option("--once", is_flag=True, help="Stop at the end of what there is")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to say what was sent")
@which_kernel
@click.pass_obj
def otel(session: Session, *, endpoint: str | None, calls: bool, ring: bool, once: bool, output: str) -> None:
    """Export the kernel's trace as OpenTelemetry spans until Ctrl-C.

    A process is a span `invoke_agent NAME`; below it `chat MODEL`, `execute_tool TOOL` and `embeddings MODEL` with
    their tokens, times, account and right. What was said is not exported.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from userland.telemetry import Counted, Spans, provider
    except ImportError as missing:
        raise Failure(f"OpenTelemetry is not installed ({missing.name}): pip install 'kernos[otel]'") from None
    seen, last_s = 0, 0.0
    with session.link() as link:
        now: clock.Time = link.call(clock.NOW, clock.Now())
        info: kernel.KernelInfo = link.call(kernel.INFO, kernel.Info())
        counted = Counted(OTLPSpanExporter(endpoint=endpoint))
        sending = provider(counted, version=info.version)
        spans = Spans(sending.get_tracer("kernos"), epoch_s=now.unix_s - now.monotonic_s, calls=calls)
        found: process.Processes = link.call(process.LIST, process.ListProcesses(all=True))
        if not ring:
            spans.know(found.processes)
        asked = kernel.Trace(since=0 if ring else _FROM_NOW, follow=not once)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                for record in link.stream(kernel.TRACE, asked):
                    spans.take(record)
                    seen, last_s = seen + 1, record.at_s
        finally:
            spans.finish(max(last_s, now.monotonic_s))
            sending.force_flush()
            sending.shutdown()
    if counted.lost:
        raise Failure(f"{counted.lost} spans were not delivered: is there a collector at the endpoint?", NO_CONNECTION)
    if output == "json":
        show_value({"records": seen}, output=output)
    else:
        say(f"{seen} records were read")
