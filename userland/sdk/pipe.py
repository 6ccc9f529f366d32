"""A pipe, as a program holds it: bytes in at one end, out at the other."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, final

from syscalls.calls import message
from syscalls.calls.message import Data, End
from userland.sdk.door import Door

_PIECE_BYTES = 1 << 20


@final
class Pipe:
    """The ends of one pipe that this process has. `id` goes to whoever is given an end: `Sys.pipe(id)` there."""

    def __init__(self, door: Door, id_: int) -> None:
        self._door = door
        self.id = id_

    async def write(self, data: bytes, *, timeout_s: float | None = None) -> None:
        """Puts all of `data` in; waits while the pipe is full. Raises BrokenPipe (EPIPE) once nobody can read it,
        TimedOut (ETIME) with a first part perhaps written."""
        view = memoryview(data)
        for at in range(0, max(len(view), 1), _PIECE_BYTES):
            piece = bytes(view[at : at + _PIECE_BYTES])
            await self._door.call(message.WRITE, message.Write(pipe=self.id, data=piece, timeout_s=timeout_s))

    async def read(self, bytes_max: int = 64 * 1024, *, timeout_s: float | None = None) -> bytes:
        """What is there, at most so many bytes; waits for the first. Empty at the end. Raises TimedOut (ETIME)."""
        data: Data = await self._door.call(
            message.READ, message.Read(pipe=self.id, bytes_max=bytes_max, timeout_s=timeout_s)
        )
        return data.data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    async def give(self, end: End, pid: int, *, keep: bool = False) -> None:
        """Hands an end to another process; this one has it no longer unless it keeps it."""
        await self._door.call(message.GIVE, message.Give(pipe=self.id, end=end, pid=pid, keep=keep))

    async def close(self, end: End | None = None) -> None:
        """Closes an end, or all that this process has: the reader then finds the end, the writer EPIPE."""
        await self._door.call(message.CLOSE, message.ClosePipe(pipe=self.id, end=end))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # otherwise the program is on its way out, and what it held is freed with it
            await self.close()
