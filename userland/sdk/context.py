"""A conversation with a model, as a program holds it."""

from collections.abc import Generator
from types import TracebackType
from typing import Any, Self, final

from syscalls.calls import context
from syscalls.calls.context import (
    Advice,
    Advised,
    Appended,
    ContextInfo,
    Generated,
    Opened,
    PageBody,
    Piece,
    Recalled,
    Saved,
)
from syscalls.errors import Canceled
from syscalls.link.ticket import Stream
from syscalls.row import Row
from syscalls.turns import Turn, user
from userland.sdk.door import Door


@final
class Answer:
    """One generation under way.

    `async for text in answer` gives text as soon as it is certain; `await answer` gives the whole of it (`Generated`),
    whether or not the pieces were read. It starts at the first of these. `async with` gives up what was not read; a
    cancelled reader gives it up too.
    """

    def __init__(self, door: Door, row: Row, args: Any) -> None:
        self._door = door
        self._row = row
        self._args = args
        self._stream: Stream | None = None
        self._generated: Generated | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._generated is not None:
            raise StopAsyncIteration
        stream = self._begin()
        try:
            piece: Piece = await stream.__anext__()
        except StopAsyncIteration:
            self._generated = await stream.result()
            raise
        except BaseException:
            stream.close()
            raise
        return piece.text

    def __await__(self) -> Generator[Any, None, Generated]:
        return self._whole().__await__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    async def _whole(self) -> Generated:
        async for _ in self:
            pass
        if self._generated is None:
            raise Canceled("this answer was given up before it had ended")
        return self._generated

    def _begin(self) -> Stream:
        if self._stream is None:
            self._stream = self._door.stream(self._row, self._args)
        return self._stream


@final
class Context:
    """A handle on a conversation; `version` is that of the last append or answer seen through this handle."""

    def __init__(self, door: Door, opened: Opened) -> None:
        self._door = door
        self.id = opened.context
        self.version = opened.version
        self.window_tokens = opened.window_tokens
        self.model = opened.model

    async def append(self, *turns: Turn, expect_version: int | None = None, resident: bool = True) -> Appended:
        """Adds turns; they are on disk when it returns. With `resident` False they never pass through the window.

        Raises Busy (EBUSY) when the conversation is at another version than `expect_version`."""
        appended: Appended = await self._door.call(
            context.APPEND,
            context.Append(context=self.id, turns=turns, expect_version=expect_version, resident=resident),
        )
        self.version = appended.version
        return appended

    def generate(self, **options: Any) -> Answer:
        """Lets the model speak: see Answer. Options are those of context.generate: max_tokens, temperature, seed, …"""
        return Answer(self._door, context.GENERATE, context.Generate(context=self.id, **options))

    async def ask(self, text: str, **options: Any) -> Generated:
        """Says `text` and waits for the answer."""
        await self.append(user(text))
        return await self.generate(**options)

    async def recall(self, query: str, *, k: int = 3, tokens_max: int = 1024, page_in: bool = False) -> Recalled:
        """The passages nearest to `query`; with `page_in` they are shown to the model too."""
        recalled: Recalled = await self._door.call(
            context.RECALL,
            context.Recall(context=self.id, query=query, k=k, tokens_max=tokens_max, page_in=page_in),
        )
        return recalled

    async def read(self, page: str) -> PageBody:
        """A page by its address, byte for byte."""
        body: PageBody = await self._door.call(context.READ, context.Read(context=self.id, page=page))
        return body

    async def stat(self) -> ContextInfo:
        """Sizes and counts."""
        info: ContextInfo = await self._door.call(context.STAT, context.Stat(context=self.id))
        return info

    async def advise(self, advice: Advice, *pages: str) -> Advised:
        """`willneed`, `dontneed`, `pin` or `normal`, as in madvise; the answer says what was done."""
        advised: Advised = await self._door.call(
            context.ADVISE, context.Advise(context=self.id, advice=advice, pages=pages)
        )
        return advised

    async def pin(self, *pages: str) -> Advised:
        """Keeps pages in the window. Raises OverWindow (EWINDOW) if pins would take more than half of it."""
        return await self.advise("pin", *pages)

    async def unpin(self, *pages: str) -> Advised:
        """Takes pins (and `dontneed`) back; all of them without pages."""
        return await self.advise("normal", *pages)

    async def save(self, name: str) -> Saved:
        """Names the conversation: it outlives this process. Raises Busy (EBUSY) if another has the name."""
        saved: Saved = await self._door.call(context.SAVE, context.Save(context=self.id, name=name))
        return saved

    async def fork(self) -> "Context":
        """A second conversation that shares everything so far."""
        return Context(self._door, await self._door.call(context.FORK, context.Fork(context=self.id)))

    async def close(self) -> None:
        """Gives the handle back; an unnamed conversation is dropped with its pages."""
        await self._door.call(context.CLOSE, context.Close(context=self.id))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # otherwise the program is on its way out, and what it held is freed with it
            await self.close()
