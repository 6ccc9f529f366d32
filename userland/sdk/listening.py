"""What a program listens to: a topic's publications, a timer's ticks."""

from types import TracebackType
from typing import Any, Self, final

from msgspec import Struct

from syscalls.calls.clock import Tick
from syscalls.calls.message import News
from syscalls.link.ticket import Stream
from userland.sdk.encoding import decode


@final
class Publication(Struct, frozen=True):
    """What was published, by whom; `missed` publications before it were dropped because this reader was slow."""

    sender: int
    body: Any
    missed: int = 0


@final
class Subscription:
    """`async with sys.subscribe(topic) as news:` listens from its first line on; `async for letter in news` waits."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aenter__(self) -> Self:
        await self._stream.__anext__()  # the kernel says so once it listens
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Publication:
        news: News = await self._stream.__anext__()
        return Publication(news.sender, decode(news.body), news.missed)


@final
class Ticks:
    """`async with sys.timer(every_s=60) as ticks: async for tick in ticks: …`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Tick:
        tick: Tick = await self._stream.__anext__()
        return tick
