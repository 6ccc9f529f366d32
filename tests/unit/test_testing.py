"""kernos.testing: programs under a whole kernel in this process, on a scripted model and a virtual clock."""

import importlib.util
import subprocess
import sys as python
from pathlib import Path
from typing import Any

import pytest

from kernos import Budget, ChildFailed, Sys, program, user
from kernos.testing import calls, up
from kernos.testing.runs import Kernel

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


@program
async def greets(sys: Sys, name: str = "world") -> str:
    chat = await sys.open()
    await chat.append(user(f"Say hello to {name}."))
    async for text in (answer := chat.generate()):
        print(text, end="")
    return (await answer).text


@program
async def sleeps(sys: Sys, seconds: float) -> float:
    before = (await sys.now()).monotonic_s
    await sys.sleep(seconds)
    return (await sys.now()).monotonic_s - before


@program
async def waits(sys: Sys) -> str | None:
    return await sys.read_line()


@program
async def reads(sys: Sys) -> list[str]:
    lines = []
    while (line := await sys.read_line()) is not None:
        lines.append(line)
    return lines


@program
async def parents(sys: Sys) -> list[Any]:
    child = await sys.spawn(sleeps, 5.0)
    return [await child.wait(), (await sys.self()).name]


@program
async def breaks(sys: Sys) -> None:
    raise RuntimeError("on purpose")


def test_a_program_runs_on_a_scripted_model(kernel: Kernel) -> None:
    assert kernel.run(greets, "Ada", script=["Hello, Ada."]) == "Hello, Ada."
    assert kernel.printed == "Hello, Ada."
    assert kernel.calls("context.") == ["context.open", "context.append", "context.generate"]
    assert kernel.exit is not None and kernel.exit.tokens > 0


def test_the_first_program_of_the_examples(kernel: Kernel) -> None:
    assert kernel.run(f"{EXAMPLES}/hello.py:hello", "Hi", script=["Hi, Ada."]) == "Hi, Ada."
    assert kernel.printed == "Hi, Ada.\n"


def test_an_hour_takes_no_time(kernel: Kernel) -> None:
    assert kernel.run(sleeps, 3000.0) == 3000.0


def test_a_program_that_waits_for_ever_fails_the_test(kernel: Kernel) -> None:
    with pytest.raises(TimeoutError, match="had not ended after 60 s of virtual time"):
        kernel.run(waits, timeout_s=60.0)


def test_lines_are_typed_and_end(kernel: Kernel) -> None:
    assert kernel.run(reads, stdin=["one", "two"]) == ["one", "two"]
    assert kernel.run(reads, stdin=[]) == []


def test_children_run_beside_their_parent(kernel: Kernel) -> None:
    assert kernel.run(parents) == [5.0, "parents"]


def test_a_failure_is_raised_with_its_exit_and_stderr(kernel: Kernel) -> None:
    with pytest.raises(ChildFailed, match="RuntimeError: on purpose") as failed:
        kernel.run(breaks)
    assert failed.value.exit.status == "failed"
    assert 'raise RuntimeError("on purpose")' in kernel.errors


def test_a_budget_binds(kernel: Kernel) -> None:
    with pytest.raises(ChildFailed) as failed:
        kernel.run(greets, script=["Hello."], spawn={"budget": Budget(tokens=3)})
    assert failed.value.exit.status == "over_quota"


def test_a_right_that_is_lacking_is_refused_and_recorded(kernel: Kernel) -> None:
    with pytest.raises(ChildFailed, match="EPERM"):
        kernel.run(greets, script=["Hello."], spawn={"rights": ()})
    assert any(record.errno == "EPERM" for record in kernel.trace)


def test_the_same_seed_gives_the_same_trace(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "ice.md").write_text("Moraines are walls of rubble.")
    (tmp_path / "tea.md").write_text("Black tea is fully oxidised.")

    def told(seed: int) -> list[tuple[object, ...]]:
        script = [calls("recall", query="moraines"), "Rubble."]
        kernel.run("crew", str(tmp_path), ["One?", "Two?", "Three?", "Four?"], script=script, seed=seed)
        return [(r.kind, r.name, r.pid, r.result, r.errno, r.at_s, r.detail.get("page")) for r in kernel.trace]

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_ask_faults_a_page_in_and_names_it(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "ice.md").write_text("Moraines are walls of rubble that the tongue pushed ahead of itself.")
    (tmp_path / "tea.md").write_text("Black tea is fully oxidised, green tea is heated soon after picking.")
    script = [calls("recall", query="moraines rubble"), "The documents say: walls of rubble."]
    asked = kernel.run("ask", "What are moraines?", str(tmp_path), script=script, spawn={"kwargs": {"passages": 1}})
    (answer,) = asked["answers"]
    assert answer["sources"][0]["source"] == "ice.md#1" and answer["faults"] >= 1
    assert [record.detail["source"] for record in kernel.trace if record.kind == "fault"] == ["ice.md#1"]


def test_chat_calculates_in_its_tool(kernel: Kernel) -> None:
    script = [calls("calculate", expression="6*7"), "The result is 42.", calls("lookup", term="window"), "It is pages."]
    assert kernel.run("chat", stdin=["6*7?", "window?"], script=script)["turns"] == 2
    assert "The result is 42.  [calculate]" in kernel.printed
    assert "It is pages.  [lookup]" in kernel.printed
    assert kernel.calls("device.") == ["device.call", "device.call"]


def test_crew_joins_its_helpers(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "ice.md").write_text("Moraines are walls of rubble.")
    report = kernel.run("crew", str(tmp_path), ["One?", "Two?", "Three?"], script=["An answer."])
    assert (report["done"], len(report["shares"])) == (3, 3)
    assert "3 of 3 answered" in kernel.printed


async def test_async_tests_hold_the_machine_itself(autojump_clock: Any) -> None:
    async with up(script=["One.", "Two."]) as machine:
        assert await machine.run(greets, "Ada") == "One."
        child = await machine.spawn(waits)
        await child.send("typed", topic="stdin")
        assert await child.wait() == "typed"
        victim = await machine.spawn(sleeps, 1e6)
        await victim.kill("KILL")
        assert (await victim.ended()).status == "killed"


def test_the_plugin_is_light() -> None:
    """Every pytest run in an environment with kernos imports the plugin: it must not drag the kernel in."""
    code = "import sys, kernos.testing; print([m for m in ('trio', 'kernel', 'apsw', 'drivers') if m in sys.modules])"
    done = subprocess.run([python.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and done.stderr == ""
    assert importlib.util.find_spec("kernos.testing") is not None
