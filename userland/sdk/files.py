"""Files as a program holds them: whole, in pieces, or open."""

from types import TracebackType
from typing import Literal, Self, final

from syscalls.calls import file as abi
from syscalls.calls.file import FileInfo, FilePiece
from syscalls.errors import NotFound
from syscalls.link.ticket import Stream
from userland.sdk.door import Door


@final
class Bytes:
    """A file as it is read: `async for piece in sys.files.stream(path)`. It starts at the first piece; no more is read
    ahead than a megabyte. `async with` gives up what was not read."""

    def __init__(self, door: Door, args: abi.ReadFile) -> None:
        self._door = door
        self._args = args
        self._stream: Stream | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._stream is None:
            self._stream = self._door.stream(abi.READ, self._args)
        try:
            piece: FilePiece = await self._stream.__anext__()
        except StopAsyncIteration:
            raise
        except BaseException:
            self._stream.close()
            raise
        return piece.data

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    async def whole(self) -> bytes:
        """All that is left."""
        return b"".join([piece async for piece in self])


@final
class File:
    """An open file; it stays the same file whatever becomes of its name. `async with` closes it."""

    def __init__(self, door: Door, opened: abi.OpenedFile) -> None:
        self._door = door
        self.handle = opened.file
        self.info = opened.info

    async def read(self, offset: int = 0, count: int | None = None) -> bytes:
        """`count` bytes from `offset`; fewer at the end."""
        return await self.stream(offset, count).whole()

    def stream(self, offset: int = 0, count: int | None = None) -> Bytes:
        """As `read`, in pieces."""
        return Bytes(self._door, abi.ReadFile(file=self.handle, offset=offset, count=count))

    async def write(self, data: bytes | str, offset: int, *, sync: bool = False) -> int:
        """Writes at `offset`; the file's size after it."""
        return await self._write(data, "at", offset, sync)

    async def append(self, data: bytes | str, *, sync: bool = False) -> int:
        """Writes at the end, wherever that is by then; the file's size after it."""
        return await self._write(data, "append", 0, sync)

    async def close(self) -> None:
        """Gives the handle back."""
        await self._door.call(abi.CLOSE, abi.CloseFile(file=self.handle))

    async def _write(self, data: bytes | str, mode: Literal["append", "at"], offset: int, sync: bool) -> int:
        args = abi.WriteFile(file=self.handle, data=_bytes(data), mode=mode, offset=offset, sync=sync)
        written: abi.Written = await self._door.call(abi.WRITE, args)
        return written.size

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # otherwise the program is on its way out, and what it held is freed with it
            await self.close()


@final
class Files:
    """Files below the folders that the program's rights name (`/srv/docs/a.txt`), and in its principal's private tree
    (`~/notes.txt`). Text is UTF-8."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def read(self, path: str, *, offset: int = 0, count: int | None = None) -> bytes:
        """A file, or `count` bytes of it from `offset`."""
        return await self.stream(path, offset=offset, count=count).whole()

    async def read_text(self, path: str) -> str:
        """A file as text."""
        return (await self.read(path)).decode()

    def stream(self, path: str, *, offset: int = 0, count: int | None = None) -> Bytes:
        """A file in pieces, however large: see Bytes."""
        return Bytes(self._door, abi.ReadFile(path=path, offset=offset, count=count))

    async def write(self, path: str, data: bytes | str, *, append: bool = False, sync: bool = False) -> int:
        """Makes `data` the whole of the file, at once, or adds it at the end; the file's size after it."""
        mode: Literal["append", "replace"] = "append" if append else "replace"
        args = abi.WriteFile(path=path, data=_bytes(data), mode=mode, sync=sync)
        written: abi.Written = await self._door.call(abi.WRITE, args)
        return written.size

    async def open(
        self,
        path: str,
        mode: Literal["read", "write"] = "read",
        *,
        create: bool = False,
        exclusive: bool = False,
        truncate: bool = False,
    ) -> File:
        """An open file: `async with await sys.files.open(path) as file`."""
        args = abi.OpenFile(path=path, mode=mode, create=create, exclusive=exclusive, truncate=truncate)
        return File(self._door, await self._door.call(abi.OPEN, args))

    def scan(self, path: str, *, entries_max: int = 10_000) -> Stream:
        """The entries of a folder as they come, in no order: `async for info in sys.files.scan(path)`."""
        return self._door.stream(abi.LIST, abi.ListFiles(path=path, entries_max=entries_max))

    async def list(self, path: str, *, entries_max: int = 10_000) -> "list[FileInfo]":
        """The entries of a folder, by name."""
        return sorted([info async for info in self.scan(path, entries_max=entries_max)], key=lambda info: info.name)

    async def stat(self, path: str) -> FileInfo:
        """What lies there; a link is told as a link."""
        info: FileInfo = await self._door.call(abi.STAT, abi.FilePath(path=path))
        return info

    async def exists(self, path: str) -> bool:
        """Whether anything lies there."""
        try:
            await self.stat(path)
        except NotFound:
            return False
        return True

    async def remove(self, path: str) -> None:
        """Removes a file, a link or an empty folder."""
        await self._door.call(abi.REMOVE, abi.FilePath(path=path))

    async def mkdir(self, path: str, *, parents: bool = False) -> None:
        """Makes a folder; with `parents` those above it too, and then it may be there already."""
        await self._door.call(abi.MAKE_FOLDER, abi.MakeFolder(path=path, parents=parents))

    async def rename(self, path: str, to: str) -> None:
        """Gives a file or folder another path, in place of a file that lies there."""
        await self._door.call(abi.RENAME, abi.RenameFile(path=path, to=to))


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else data
