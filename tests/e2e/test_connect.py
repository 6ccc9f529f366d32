"""`kernos.connect`: the system calls from outside, on either loop."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from kernos import Sys, connect, user
from syscalls.errors import BrokenPipe
from tests.kernelproc import KernelProcess, kernel_up

CONFIG = """
embedding = "sim"
store = "memory"
[models.sim]
origin = "sim:"
driver = "sim"
[models.sim.options]
script = '["Hello from outside."]'
"""


@pytest.fixture(scope="module")
def up() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as kernel:
        yield kernel


async def _talk(path: Path) -> tuple[str, str, bool]:
    async with connect(path) as sys:
        chat = await sys.open()
        await chat.append(user("hello"))
        heard = "".join([text async for text in chat.generate()])
        (vector,) = await sys.embed("three small words")
        info = await sys.self()
        assert isinstance(sys, Sys) and sys.pid == info.pid
        return heard, info.kind, 0.99 < sum(part * part for part in vector) < 1.01


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_a_session_talks_on_any_loop(up: KernelProcess, loop: str) -> None:
    said = trio.run(_talk, up.socket) if loop == "trio" else asyncio.run(_talk(up.socket))
    assert said == ("Hello from outside.", "session", True)


def test_what_the_block_raises_comes_out_as_it_is(up: KernelProcess) -> None:
    async def fails() -> None:
        async with connect(up.socket):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(fails())
    with pytest.raises(KeyError, match="mine"):
        trio.run(fails)


def test_without_a_kernel_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipe, match=r"no kernel answers at .*/none\.sock: .*; start one with 'kernos up'"):
        trio.run(_talk, tmp_path / "none.sock")
