"""The shipped programs on a real kernel: workers in jails, drivers in hosts of their own, a scripted model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from syscalls.calls import message, process
from syscalls.codec import pack
from syscalls.link.blocking import BlockingLink
from tests.kernelproc import KernelProcess, kernel_up, trace, wait
from userland.jobfile import load_job
from userland.sdk.encoding import decode

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = [
    {"match": "^What (is|are)", "calls": [{"name": "recall", "arguments": {"query": "moraines rubble glacier"}}]},
    {"match": r"6\*7", "calls": [{"name": "calculate", "arguments": {"expression": "6*7"}}]},
    {"match": "EAGAIN$", "calls": [{"name": "lookup", "arguments": {"term": "EAGAIN"}}]},
    {"match": "^42$", "text": "The result is 42."},
    {"match": "rubble|oxidised", "text": "Walls of rubble."},
    {"match": "take this now", "text": "Try again later."},
    {"match": "Say hello", "text": "Hello, Ada."},
]
CONFIG = f"""
embedding = "sim"
store = "memory"
[models.sim]
origin = "sim:"
driver = "sim"
[models.sim.options]
script = {json.dumps(json.dumps(SCRIPT))}
"""


@pytest.fixture(scope="module")
def up() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as kernel:
        yield kernel


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "ice.md").write_text("Moraines are walls of rubble that the glacier pushed ahead of itself.")
    (folder / "tea.md").write_text("Black tea is fully oxidised; green tea is heated soon after picking.")
    (folder / "noise.bin").write_bytes(bytes(100))
    (folder / "latin.txt").write_bytes(b"Gr\xfc\xdfe")
    with (folder / "huge.txt").open("wb") as huge:
        huge.truncate(10_000_001)
    return folder


def start(link: BlockingLink, program: str, *args: Any, rights: tuple[str, ...] = (), **kwargs: Any) -> int:
    granted = ("model:*", "context:*", "tool:*", "program:*", "process:children", *rights)
    call = process.Spawn(program=program, args=Raw(pack(args)), kwargs=Raw(pack(kwargs)), rights=granted)
    pid: int = link.call(process.SPAWN, call).pid
    return pid


def finish(link: BlockingLink, pid: int) -> Any:
    ended = wait(link, pid)
    assert ended.status == "done", ended.error
    return decode(ended.value)


def printed(link: BlockingLink, pid: int) -> str:
    lines = link.stream(process.LOGS, process.Logs(pid=pid))
    return "".join(line.text for line in lines if line.stream == "stdout")


def test_the_first_program_of_the_readme(up: KernelProcess) -> None:
    link = up.link()
    file = ROOT / "examples" / "hello.py"
    pid = start(link, f"{file}:", rights=(f"file:{file.parent}/** read",), __argv__=["Say hello to Ada."])
    assert finish(link, pid) == "Hello, Ada."
    assert printed(link, pid) == "Hello, Ada.\n"


def test_ask_answers_from_documents_with_the_page_it_used(up: KernelProcess, documents: Path) -> None:
    link = up.link()
    pid = start(link, "ask", "What are moraines?", str(documents), passages=1, rights=(f"file:{documents}/** read",))
    asked = finish(link, pid)
    (answer,) = asked["answers"]
    assert answer["answer"] == "Walls of rubble."
    (source,) = answer["sources"]
    assert source["source"] == "ice.md#1"
    assert [skipped.partition(":")[0] for skipped in asked["skipped"]] == [
        "skipped huge.txt",
        "skipped latin.txt",
        "skipped noise.bin",
    ]
    (fault,) = [record for record in trace(link) if record.kind == "fault" and record.pid == pid]
    assert fault.detail["page"] == source["page"]


def test_ask_sees_no_folder_that_it_was_not_granted(up: KernelProcess, documents: Path) -> None:
    link = up.link()
    ended = wait(link, start(link, "ask", "What are moraines?", str(documents)))
    assert ended.status == "failed" and f"grant it with --allow 'file:{documents}/** read'" in ended.error


def test_crew_gives_each_helper_a_question_and_a_budget(up: KernelProcess, documents: Path) -> None:
    link = up.link()
    questions = ["What are moraines?", "What is ice?"]
    rights = (f"file:{documents}/** read",)
    report = finish(link, start(link, "crew", str(documents), questions, rights=rights))
    assert (report["done"], [share["question"] for share in report["shares"]]) == (2, questions)
    poor = finish(link, start(link, "crew", str(documents), questions, tokens=50, rights=rights))
    assert [share["status"] for share in poor["shares"]] == ["over_quota", "over_quota"]


def test_chat_uses_tools_in_workers_of_their_own(up: KernelProcess) -> None:
    link = up.link()
    pid = start(link, "chat", quiet=True)
    for line in ("how much is 6*7?", "define EAGAIN", None):
        link.call(message.SEND, message.Send(pid=pid, body=Raw(pack(line)), topic="stdin"))
    assert finish(link, pid)["turns"] == 2
    assert printed(link, pid) == "The result is 42.  [calculate]\nTry again later.  [lookup]\n"
    tools = [record for record in trace(link) if record.pid == pid and record.name == "device.call"]
    assert [record.errno for record in tools] == ["", ""]
    assert all("sandboxed worker" in record.result for record in tools)


def test_a_job_file_runs_item_by_item(up: KernelProcess, documents: Path) -> None:
    link = up.link()
    file = documents.parent / "job.toml"
    file.write_text(
        'kind = "ask"\nquestions = ["What are moraines?"]\ninputs = ["documents"]\n[strategy]\nat_once = 2\n'
    )
    job = load_job(file)
    call = process.Spawn(program="job", args=Raw(pack([job])), rights=("model:*", "context:*", *job.rights))
    result = finish(link, link.call(process.SPAWN, call).pid)
    (item,) = result["items"]
    assert (item["status"], item["text"], result["model"]) == ("done", "Walls of rubble.", "sim@1")
    assert "ice.md#1" in [source["source"] for source in item["sources"]] and item["generated_tokens"] > 0
