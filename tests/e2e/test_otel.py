"""`kernos otel` against a real kernel and a collector that speaks OTLP over HTTP."""

import gzip
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from syscalls.calls import kernel
from tests.kernelproc import KernelProcess, kernel_up, spawn, until, wait

CONFIG = 'embedding = "hash"\nstore = "memory"\n[models.sim]\norigin = "sim:"\n'
PROGRAM = """
from kernos import Sys, program, user

@program
async def says(sys: Sys) -> str:
    chat = await sys.open()
    await chat.append(user("hello"))
    return (await chat.generate(max_tokens=5)).text
"""


@final
class Collector:
    """A receiver of spans; `spans` are those that came, `paths` where they were sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.paths: set[str] = set()

    def take(self, path: str, body: bytes) -> None:
        self.paths.add(path)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            self.resources.append({each.key: each.value.string_value for each in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)


@contextmanager
def collecting() -> Iterator[tuple[str, Collector]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def otel(up: KernelProcess, *words: str) -> "subprocess.Popen[str]":
    """The command, under way."""
    command = [sys.executable, "-c", "from userland.cli.main import main; main()", *words]
    env = {**os.environ, "KERNOS_SOCKET": str(up.socket)}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_spans_reach_a_collector(tmp_path: Path) -> None:
    path = tmp_path / "says.py"
    path.write_text(PROGRAM)
    with collecting() as (endpoint, collector), kernel_up(config=CONFIG) as up, up.link() as link:
        assert wait(link, spawn(link, f"{path}:says")).status == "done"
        ran = otel(up, "otel", "--ring", "--once", "--endpoint", endpoint)
        _, told = ran.communicate(timeout=60)
        assert ran.returncode == 0, told
        assert {span.name for span in collector.spans} == {"invoke_agent says", "chat sim@1"}
        assert collector.resources[0]["service.name"] == "kernos"
        assert collector.paths == {"/v1/traces"}
        chat, agent = sorted(collector.spans, key=lambda span: span.name)
        assert (chat.name, agent.name) == ("chat sim@1", "invoke_agent says")
        assert chat.parent_span_id == agent.span_id

        following = otel(up, "otel", "--endpoint", endpoint)
        until(lambda: followed(up))
        assert wait(link, spawn(link, f"{path}:says")).status == "done"
        following.send_signal(signal.SIGINT)
        _, told = following.communicate(timeout=60)
        assert following.returncode == 0, told
        assert sorted(span.name for span in collector.spans) == ["chat sim@1"] * 2 + ["invoke_agent says"] * 2


def followed(up: KernelProcess) -> bool:
    """Whether somebody follows the trace."""
    with up.link() as link:
        records = link.stream(kernel.TRACE, kernel.Trace(begun=True))
        return any(record.kind == "begun" and record.name == "kernel.trace" for record in records)


def test_without_a_collector_it_says_so() -> None:
    with kernel_up(config=CONFIG) as up:
        ran = otel(up, "otel", "--ring", "--once", "--calls", "--endpoint", "http://127.0.0.1:9/v1/traces")
        _, told = ran.communicate(timeout=90)
        assert ran.returncode == 6
        assert "spans were not delivered" in told
