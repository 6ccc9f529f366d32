"""The packages in examples/: each is built, signed, installed and used by the very commands of its README."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.commandline import CommandLine

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PACKAGES = ("finder", "review", "sqlite-store")


def commands(readme: Path) -> list[tuple[str, list[str]]]:
    """The lines that begin with `$ `, each with the lines of output that stand below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```\n(.*?)```", readme.read_text(), flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip():
                found[-1][1].append(line)
    return found


@pytest.fixture
def kernos(tmp_path: Path) -> CommandLine:
    """A home without a configuration, as a reader of the README has it, with a copy of the packages."""
    made = CommandLine(tmp_path)
    made.config.unlink()
    made.environ.pop("KERNOS_CONFIG", None)
    for name in PACKAGES:
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_the_commands_of_the_readme_do_what_it_says(kernos: CommandLine, name: str) -> None:
    told = commands(kernos.home / name / "README.md")
    assert len(told) > 6
    try:
        for line, output in told:
            program, *words = shlex.split(line)
            assert program == "kernos"
            done = kernos(*words)
            assert done.returncode == 0, f"{line}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
            said = " ".join(done.stdout.split())
            for expected in output:
                assert " ".join(expected.split()) in said, f"{line}: {expected!r} not in {done.stdout}"
    finally:
        log = (kernos.home / "state").rglob("kernel.log")
        kernos("down", "--grace", "0")
    assert not any("Traceback" in file.read_text() for file in log)
