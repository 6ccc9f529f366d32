"""The demo: what it promises is shown by its trace, its questions follow the seed, and it leaves nothing behind."""

import io
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo import questions
from examples.demo.__main__ import INTERRUPTED, SHIPPED
from examples.demo.documents import REPOSITORY
from examples.demo.questions import Question
from examples.demo.scene import ROLES, Agent, cast
from examples.demo.story import Story
from examples.demo.view import Paint, frame
from syscalls.calls.kernel import TraceRecord
from userland.documents import Document, read_folder

MARK = "KERNOS_DEMO_TEST"


def started(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """The demo as an OS process with no terminal; whatever it starts bears the mark in its environment."""
    environment = {**os.environ, "TMPDIR": str(folder), MARK: str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo", *words],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind(folder: Path) -> list[str]:
    """OS processes that bear the mark, by command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def chosen(folder: Path, seed: int) -> list[Agent]:
    folder.mkdir()
    return cast(random.Random(seed), folder, len(ROLES))


def asked(agents: list[Agent]) -> list[str]:
    return [question.text for agent in agents for question in agent.questions]


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHIPPED / "config.json").is_file(), reason="the shipped model has not been trained: make model"
)
def test_the_machine_keeps_its_promises_and_the_trace_shows_it(tmp_path: Path) -> None:
    said, complaints = started(tmp_path, "--seed", "7", "--agents", "6").communicate(timeout=240)
    assert complaints == ""
    assert "BROKEN" not in said, said
    assert said.count("  kept  ") == 6
    for pattern in (
        r"process\.kill DENIED: process \d+ \(trespasser\) lacks the right",
        r"open /etc/passwd: refused by the operating system",
        r"tool call calculator\.calculate in its sandbox",
        r"rambler +killed",
        r"driver host of kernos-tiny@1 \(OS process \d+\) died \(signal 9\)",
        r"driver host of kernos-tiny@1 \(OS process \d+\) is ready, in place of the dead one",
        r"ask-1 +page fault: \S+#\d+ \(page [0-9a-f]{12}\) is brought in",
        r"answers +\d+ right of 8",
    ):
        assert re.search(pattern, said), f"{pattern}\n{said}"
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_a_broken_promise_is_named_and_is_the_exit_status(tmp_path: Path) -> None:
    demo = started(tmp_path, "--agents", "4", "--model", "sim:")
    said, _ = demo.communicate(timeout=120)
    assert demo.returncode == 1, said
    assert "BROKEN  a tool was called in its sandbox" in said, "the simulated model calls none"
    assert "kept    a forbidden system call was denied" in said
    assert "WRONG" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_no_file(tmp_path: Path, number: signal.Signals) -> None:
    demo = started(tmp_path, "--agents", "4", "--model", "sim:")
    assert demo.stdout is not None
    assert any("spawned" in line for line in demo.stdout)
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode == INTERRUPTED
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_another_seed_asks_other_questions_and_the_same_seed_the_same(tmp_path: Path) -> None:
    once, again, other = (asked(chosen(tmp_path / name, seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert once == again
    assert set(once) != set(other)
    assert len(set(once) & set(other)) < len(once) / 2


@pytest.mark.parametrize("seed", range(12))
def test_each_question_about_a_document_has_one_answer_there(tmp_path: Path, seed: int) -> None:
    agents = chosen(tmp_path / "docs", seed)
    texts = {
        passage.source: " ".join(passage.text.split())
        for shelf in ("python", "project")
        for document in read_folder(tmp_path / "docs" / shelf)
        if isinstance(document, Document)
        for passage in document.passages
    }
    about = [question for agent in agents for question in agent.questions if question.source]
    assert len(about) == 8
    for question in about:
        assert question.expected in texts[question.source]


def test_an_answer_is_right_only_with_the_expected_words() -> None:
    total = Question("What is 12 + 30?", "42")
    assert total.answered_by("The result is 42.")
    assert not total.answered_by("The result is 142.")
    assert not total.answered_by("The result is 42.5.")
    assert not total.answered_by("The result is -42.")
    assert Question("q", "It holds the key.").answered_by('The documents say: "It holds\nthe key."')


def test_sums_are_what_they_come_to() -> None:
    for question in questions.sums(random.Random(5), 50):
        a, sign, b = re.search(r"(\d+) ([-+*]) (\d+)", question.text).groups()  # type: ignore[union-attr]
        assert int(question.expected) == {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]


def told() -> Story:
    """A story of more processes than fit, some of which have ended."""
    story = Story()
    for pid in range(3, 23):
        detail = {"parent": "2", "name": f"agent-{pid}", "type": "program"}
        story.take(TraceRecord(seq=pid, at_s=1.0, kind="spawn", pid=pid, detail=detail))
    note = {"note": "reading " + "a very long name " * 20, "done": "1", "total": "3"}
    story.take(TraceRecord(seq=30, at_s=2.0, kind="note", pid=20, detail=note))
    story.take(TraceRecord(seq=31, at_s=2.5, kind="exit", pid=4, detail={"status": "done", "code": "0", "error": ""}))
    return story


@pytest.mark.parametrize(("width", "height"), [(79, 23), (120, 40), (40, 12)])
def test_a_frame_fits_the_terminal(width: int, height: int) -> None:
    lines = frame(told(), "kernos demo", Paint(io.StringIO()), width=width, height=height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_what_was_generated_while_the_host_was_gone_is_not_counted_as_generating() -> None:
    story = told()
    for seq, at_s, kind, restarts in ((40, 4.0, "host_lost", ""), (41, 9.0, "host_ready", "1")):
        detail = {"device": "m@1", "host": "1", "status": "-9", "restarts": restarts}
        story.take(TraceRecord(seq=seq, at_s=at_s, kind=kind, detail=detail))
    for pid in (5, 6):
        story.take(
            TraceRecord(
                seq=50 + pid,
                at_s=10.0,
                kind="call",
                pid=pid,
                name="context.generate",
                driver_s=8.0,
                generated_tokens=30,
            )
        )
    assert story.generating_s == pytest.approx(3.0)
    assert sum(life.generated_tokens for life in story.programs) == 60
