"""What the tests of the command line begin with; a file that needs another home says so itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.kernelproc import until


@pytest.fixture
def kernos(tmp_path: Path) -> CommandLine:
    """The command line with a home of its own."""
    return CommandLine(tmp_path)


@pytest.fixture
def up(kernos: CommandLine) -> Iterator[CommandLine]:
    """With a kernel that runs."""
    kernel = kernos.start("up")
    until(lambda: kernos("ps").returncode == 0)
    yield kernos
    kernos("down")
    kernel.communicate(timeout=30)
