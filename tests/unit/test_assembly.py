"""A machine that cannot be put together leaves nothing of what was there already."""

from pathlib import Path
from typing import final

import pytest

from kernel.assembly import machine_up
from kernel.config import Config
from kernel.seal import Seals
from kernel.truth import Truth
from kernel.workers.launch import CommandRequest, Launched, LaunchedCommand, LaunchRequest
from syscalls.errors import Invalid


@final
class Idle:
    """A launcher that makes nothing: whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def launch(self, request: LaunchRequest) -> Launched:
        raise NotImplementedError

    async def command(self, request: CommandRequest) -> LaunchedCommand:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed = True


async def test_the_launcher_is_closed_where_the_configuration_makes_no_sense(tmp_path: Path) -> None:
    """It may have made control groups, and have moved the kernel into one."""
    launcher, truth = Idle(), Truth.in_memory()
    config = Config(state=str(tmp_path), scheduling="nonsense")
    with pytest.raises(Invalid, match="no scheduling policy 'nonsense'"):
        async with machine_up(config, truth=truth, seals=Seals(tmp_path / "keys"), make_launcher=lambda _: launcher):
            pass
    truth.close()
    assert launcher.closed
