"""What the README says is run as it stands there, and what the documents name exists."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from userland.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
KERNOS = [sys.executable, "-c", "from userland.cli.main import main; main()"]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_the_first_program_runs_as_it_stands(tmp_path: Path) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    (tmp_path / "hello.py").write_text(code)
    told = re.search(r"kernos run hello\.py\n(.+)\n", (ROOT / "README.md").read_text())
    assert told
    done = subprocess.run(
        [*KERNOS, "run", "hello.py"], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == told[1]


def test_the_example_is_the_program_of_the_readme() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    example = (ROOT / "examples" / "hello.py").read_text()
    assert code.split("@program")[1].strip() == example.split("@program")[1].strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_the_documents_compiles(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(
            code, str(page), "exec", flags=8192
        )  # top-level await is fine in a document (PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_documents_exist(page: Path) -> None:
    for code in blocks(page, ""):
        for command in re.findall(r"^(?:\.venv/bin/)?kernos ([a-z]+)", code, flags=re.MULTILINE):
            assert command in COMMANDS, f"{page.name} uses 'kernos {command}'"


@pytest.mark.parametrize("target", ["demo", "test", "check", "quick", "mutants", "model", "score"])
def test_targets_of_the_makefile_exist(target: str) -> None:
    make = shutil.which("make")
    assert make, "make is part of the two commands"
    done = subprocess.run([make, "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
