"""Paging on a real kernel, with real hosts: through the gate, over the socket, across a kill of the kernel."""

import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from syscalls.calls import context, device, model
from syscalls.calls.context import Append, ContextInfo, Generated, Open, Read, Recall, Stat
from syscalls.errors import Invalid, NotFound, OverWindow
from syscalls.link.blocking import BlockingLink
from syscalls.turns import canonical, system, user
from tests.kernelproc import KernelProcess, kernel_up, trace, until

CONFIG = """
embedding = "sim"
store = "memory"
[models.sim]
origin = "sim:"
[models.sim.options]
window = "1200"
"""
FACTS = {
    "cats.txt": "The cat sleeps on the warm windowsill.",
    "ships.txt": "A ship carries cargo over the ocean.",
    "bread.txt": "Bread rises when yeast eats sugar.",
}


def opened(link: BlockingLink, name: str | None = None) -> int:
    handle: int = link.call(context.OPEN, Open(name=name, reserve_tokens=100)).context
    return handle


def append(link: BlockingLink, handle: int, *texts: str, resident: bool = True, source: str = "") -> None:
    turns = tuple(user(text, source=source) for text in texts)
    link.call(context.APPEND, Append(context=handle, turns=turns, resident=resident))


def speak(link: BlockingLink, handle: int, **options: Any) -> Generated:
    stream: Generator[Any, None, Any] = link.stream(
        context.GENERATE, context.Generate(context=handle, max_tokens=20, **options)
    )
    while True:
        try:
            next(stream)
        except StopIteration as end:
            answer: Generated = end.value
            return answer


def stat(link: BlockingLink, handle: int) -> ContextInfo:
    info: ContextInfo = link.call(context.STAT, Stat(context=handle))
    return info


def kill_host(link: BlockingLink, kind: str) -> None:
    """SIGKILL for the host of the device of `kind`, and until there is another."""
    (found,) = link.call(device.LIST, device.ListDevices(kind=kind)).devices  # type: ignore[arg-type]
    os.kill(found.host, signal.SIGKILL)


def test_a_conversation_pages_recalls_and_outlives_the_kernel(tmp_path: Path) -> None:
    with kernel_up(config=CONFIG, folder=tmp_path) as up:
        link = up.link()
        handle = opened(link, "notes")
        link.call(context.APPEND, Append(context=handle, turns=(system("be brief"),)))
        for source, fact in FACTS.items():
            append(link, handle, fact, resident=False, source=source)
        for n in range(20):
            append(link, handle, f"question {n} " + "x" * 100)
            assert speak(link, handle).usage.prompt_tokens <= 1100
        info = stat(link, handle)
        assert info.evictions > 0
        assert info.resident_pages < info.pages
        found = link.call(context.RECALL, Recall(context=handle, query="what does yeast eat", k=1, page_in=True))
        assert [(each.source, each.resident) for each in found.passages] == [("bread.txt", False)]
        assert any(record.kind == "fault" for record in trace(link))
        page = found.passages[0].page
        body = link.call(context.READ, Read(context=handle, page=page)).body
        assert body == canonical((user(FACTS["bread.txt"], source="bread.txt"),))
        version = stat(link, handle).version
        os.kill(up.child.pid, signal.SIGKILL)
        up.child.wait()
    with kernel_up(config=CONFIG, folder=tmp_path) as up:
        link = up.link()
        handle = opened(link, "notes")
        assert stat(link, handle).version == version
        assert link.call(context.READ, Read(context=0, page=page)).body == body
        until(lambda: stat(link, handle).indexed == stat(link, handle).pages)
        found = link.call(context.RECALL, Recall(context=handle, query="what does yeast eat", k=1))
        assert [each.page for each in found.passages] == [page]
        append(link, handle, "one more")
        speak(link, handle)
        assert stat(link, handle).version == version + 2


def test_a_store_and_an_embedding_that_are_killed_cost_nothing() -> None:
    with kernel_up(config=CONFIG) as up:
        link = up.link()
        handle = opened(link)
        for source, fact in FACTS.items():
            append(link, handle, fact, resident=False, source=source)
        until(lambda: stat(link, handle).indexed == len(FACTS))
        for kind in ("store", "embedding"):
            kill_host(link, kind)
            found = link.call(context.RECALL, Recall(context=handle, query="cargo over the ocean", k=1))
            assert found.passages[0].source == "ships.txt"
            until(lambda: stat(link, handle).indexed == len(FACTS))


def test_what_is_wrong_is_said_and_the_kernel_goes_on() -> None:
    with kernel_up(config=CONFIG) as up:
        link = up.link()
        handle = opened(link)
        append(link, handle, "y" * 1150)
        with pytest.raises(OverWindow, match="the window of sim@1 has 1200, less 100 for the answer"):
            speak(link, handle)
        with pytest.raises(NotFound, match="no context 4711"):
            stat(link, 4711)
        with pytest.raises(Invalid, match="reserve_tokens"):
            link.call(context.OPEN, Open(reserve_tokens=5000))
        with pytest.raises(Invalid, match="max_tokens"):
            list(link.stream(model.GENERATE, model.OneShot(turns=(user("x"),), max_tokens=0)))
        append(link, handle, "short")
        assert speak(link, handle).turn.role == "assistant"


def test_no_plaintext_of_a_page_is_in_the_state_folder(tmp_path: Path) -> None:
    marker = "XYZZYPLUGH"
    with kernel_up(config=CONFIG, folder=tmp_path) as up:
        link = up.link()
        handle = opened(link, "notes")
        append(link, handle, *[f"{marker} {n} " + "z" * 300 for n in range(20)], source=marker)
        append(link, handle, marker, resident=False)
        link.call(context.RECALL, Recall(context=handle, query=marker))
        _holds_no(marker, up)
    _holds_no(marker, up)


def _holds_no(marker: str, up: KernelProcess) -> None:
    files = [file for file in up.folder.rglob("*") if file.is_file()]
    assert any(file.suffix == ".key" for file in files)
    for file in files:
        assert marker.encode() not in file.read_bytes(), file
