"""What a host does itself: it counts what was given up, whatever its driver was waiting in, and ids nobody can use."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from drivers.serving import DriverServer
from syscalls import driver as abi
from syscalls.codec import pack
from syscalls.errors import Errno
from syscalls.hooks import Driver, Emit
from syscalls.link.duplex import Duplex
from syscalls.wire import Call, Cancel


class Silent:
    """A model that never answers; `nested`, it waits in a nursery of its own, as a connection attempt does."""

    def __init__(self, nested: bool) -> None:
        self.opened = abi.Opened(device=0, slots=1)
        self._nested = nested

    async def generate(self, call: abi.Generate, emit: Emit, /) -> abi.Finished:
        raise await self._wait()

    async def score(self, call: abi.Score, /) -> abi.Scored:
        raise await self._wait()

    async def _wait(self) -> BaseException:
        if self._nested:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()

    async def render(self, call: abi.Render, /) -> abi.Rendered:
        return abi.Rendered(head=(1, 2), segments=((3, 4, 5), (6,)), tail=(7,))

    async def close(self) -> None:
        pass


class SilentDriver:
    name, kinds = "silent", ("model",)

    def __init__(self, nested: bool) -> None:
        self._nested = nested

    async def open(self, call: abi.Open, /) -> Silent:
        return Silent(self._nested)


class Heard:
    """A link that keeps what it was told."""

    def __init__(self) -> None:
        self.errors: list[Errno] = []
        self.replies: list[Any] = []

    def reply(self, call_id: int, result: Any) -> None:
        self.replies.append(result)

    def error(self, call_id: int, errno: Errno, message: str) -> None:
        self.errors.append(errno)


@contextlib.asynccontextmanager
async def serving(nested: bool = False) -> AsyncIterator[tuple[DriverServer, Heard, Callable[..., Awaitable[None]]]]:
    """A host with device 1 open, what it answers, and how to call it; a call's id is its number."""
    heard = Heard()
    async with trio.open_nursery() as nursery:
        driver = cast(Driver, SilentDriver(nested))
        server = DriverServer("silent", lambda: driver, nursery, driver=driver)

        async def call(number: int, args: Any) -> None:
            server.on_call(cast(Duplex, heard), Call(id=number, channel=0, number=number, args=msgspec.Raw(pack(args))))
            await trio.testing.wait_all_tasks_blocked()

        await call(abi.OPEN.number, abi.Open(kind="model", origin="x"))
        yield server, heard, call


@pytest.mark.parametrize("nested", [False, True])
async def test_what_is_cancelled_is_counted(nested: bool, autojump_clock: Any) -> None:
    async with serving(nested) as (server, heard, call):
        sampling = abi.Sampling(max_tokens=9)
        await call(abi.GENERATE.number, abi.Generate(device=1, prompt=(1, 2, 3), sampling=sampling))
        await call(abi.SCORE.number, abi.Score(device=1, prompt=(1,), continuations=((2, 3), (4,))))
        for number in (abi.GENERATE.number, abi.SCORE.number):
            server.on_cancel(cast(Duplex, heard), Cancel(id=number, reason="test"))
        await trio.testing.wait_all_tasks_blocked()
        ledger = server.tally.ledger()

    assert heard.errors == [Errno.ECANCELED] * 2
    assert (ledger.generations, ledger.cancelled) == (1, 1)
    assert ledger.prompt_tokens == 3 + 2 * 1 + 3


@pytest.mark.parametrize(("ids_max", "whole"), [(None, True), (7, True), (6, False), (0, False)])
async def test_of_too_many_ids_their_number_alone_is_told(ids_max: int | None, whole: bool) -> None:
    async with serving() as (_, heard, call):
        await call(abi.RENDER.number, abi.Render(device=1, turns=(), ids_max=ids_max))
    ids = abi.Rendered(head=(1, 2), segments=((3, 4, 5), (6,)), tail=(7,))
    assert heard.replies[-1] == (ids if whole else abi.Rendered(counts=(2, 3, 1, 1)))
