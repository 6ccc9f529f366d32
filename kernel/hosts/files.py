"""The port on the file host: files that stay open across its death, and calls that are issued again where that is safe.

What a dead host was doing is not known. Looking, reading, and writing given bytes at a given place are done again;
whatever would do something twice is told as EUNKNOWN.
"""

import secrets
from collections.abc import Callable
from typing import Any, final
from weakref import WeakValueDictionary

import trio
from msgspec.structs import replace

from kernel.hosts.host import Host
from kernel.mount import OpenFile
from syscalls import filing as abi
from syscalls.errors import BrokenPipe, NotFound, OutcomeUnknown, SyscallError, TimedOut
from syscalls.mounts import Spot
from syscalls.row import Row

_REISSUES_MAX = 3


@final
class Files:
    """The file host, as the file family needs it. `io_s` is how long one operation may take."""

    def __init__(self, host: Host, *, io_s: float) -> None:
        self.host = host
        self._io_s = io_s
        self._books: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self._nursery: trio.Nursery | None = None

    def attach(self, nursery: trio.Nursery) -> None:
        """Where descriptors are given back in."""
        self._nursery = nursery

    def books(self, root: str) -> trio.Lock:
        """Held by who changes the private tree at `root`, so that what each change grew it by adds up."""
        return self._books.setdefault(root, trio.Lock())

    async def open(
        self, spot: Spot, *, write: bool = False, create: bool = False, exclusive: bool = False, truncate: bool = False
    ) -> tuple[OpenFile, abi.Opened]:
        """Opens a file; the caller gives it back by `forget`. An exclusive one that a dead host was to make is
        EUNKNOWN."""

        def args(number: int) -> abi.Open:
            return abi.Open(
                device=0, file=number, tree=spot.tree, path=spot.inner, write=write, create=create,
                exclusive=exclusive, truncate=truncate,
            )  # fmt: skip

        number, opened = await self._opened(abi.OPEN, args, spot, again=not exclusive)
        return OpenFile(spot, write=write, number=number, identity=opened.stat.identity), opened

    async def read(self, file: OpenFile, offset: int, count: int) -> bytes:
        """Up to `count` bytes; none is the end."""
        read: abi.Bytes = await self._through(
            file, abi.READ, lambda: abi.Read(device=0, file=file.number, offset=offset, count=count), again=True
        )
        return read.data

    async def write(
        self, file: OpenFile, data: bytes, *, offset: int | None, grow_max: int | None, sync: bool
    ) -> abi.Changed:
        """Writes at `offset`, or with None at the end."""

        def args() -> abi.Write:
            return abi.Write(
                device=0, file=file.number, data=data, offset=offset, grow_max=grow_max, sync=sync
            )  # fmt: skip

        changed: abi.Changed = await self._through(file, abi.WRITE, args, again=offset is not None)
        return changed

    async def replace(self, spot: Spot, data: bytes, *, grow_max: int | None, sync: bool) -> abi.Changed:
        """The whole of a file."""
        args = abi.Replace(device=0, tree=spot.tree, path=spot.inner, data=data, grow_max=grow_max, sync=sync)
        changed: abi.Changed = await self._told(abi.REPLACE, lambda: args, spot.path, again=True)
        return changed

    async def stat(self, spot: Spot) -> abi.Stat:
        """What lies there."""
        args = abi.Place(device=0, tree=spot.tree, path=spot.inner)
        found: abi.Stat = await self._told(abi.STAT, lambda: args, spot.path, again=True)
        return found

    async def scan(self, spot: Spot) -> OpenFile:
        """Opens a folder for `next`; the caller gives it back by `forget`."""

        def args(number: int) -> abi.Scan:
            return abi.Scan(device=0, file=number, tree=spot.tree, path=spot.inner)

        number, opened = await self._opened(abi.SCAN, args, spot, again=True)
        return OpenFile(spot, write=False, number=number, identity=opened.stat.identity)

    async def next(self, folder: OpenFile, count: int) -> tuple[abi.Entry, ...]:
        """The next entries; none is the end. Where in a folder a dead host was is not known: BrokenPipe (EPIPE)."""
        try:
            entries: abi.Entries = await self._call(
                abi.NEXT, abi.Next(device=0, file=folder.number, count=count), folder.spot.path
            )
        except (BrokenPipe, NotFound):
            raise BrokenPipe(f"{folder.spot.path}: the file host died while it was listed: list it again") from None
        return entries.entries

    async def remove(self, spot: Spot) -> abi.Changed:
        """Removes a file, a link or an empty folder."""
        args = abi.Place(device=0, tree=spot.tree, path=spot.inner)
        changed: abi.Changed = await self._told(abi.REMOVE, lambda: args, spot.path, again=False)
        return changed

    async def make_folder(self, spot: Spot, *, parents: bool) -> None:
        """Makes a folder."""
        args = abi.MakeFolder(device=0, tree=spot.tree, path=spot.inner, parents=parents)
        await self._told(abi.MAKE_FOLDER, lambda: args, spot.path, again=parents)

    async def rename(self, spot: Spot, to: Spot) -> abi.Changed:
        """Renames."""
        args = abi.Rename(device=0, tree=spot.tree, path=spot.inner, to_tree=to.tree, to_path=to.inner)
        changed: abi.Changed = await self._told(abi.RENAME, lambda: args, f"{spot.path} to {to.path}", again=False)
        return changed

    def forget(self, file: OpenFile) -> None:
        """Gives a descriptor back; never waits."""
        self._release(file.number)

    def _release(self, number: int) -> None:
        if self._nursery is not None and self.host.state == "ready":
            self._nursery.start_soon(self._released, number)

    async def _released(self, number: int) -> None:
        try:
            await self._call(abi.CLOSE, abi.File(device=0, file=number), "")
        except SyscallError:  # a host that is gone holds nothing
            pass

    async def _opened(
        self, row: Row, make_args: Callable[[int], Any], spot: Spot, *, again: bool
    ) -> tuple[int, abi.Opened]:
        number = secrets.randbits(48)
        try:
            opened: abi.Opened = await self._told(row, lambda: make_args(number), spot.path, again=again)
        except (trio.Cancelled, TimedOut):  # it may be open by now, and nobody will use it
            self._release(number)
            raise
        return number, opened

    async def _through(self, file: OpenFile, row: Row, make_args: Callable[[], Any], *, again: bool) -> Any:
        """A call on a descriptor. If its host died the file is opened again, if it is the same file still; then the
        call is issued again where it was not begun, or may be done twice."""
        path = file.spot.path
        for _ in range(_REISSUES_MAX):
            try:
                return await self._call(row, make_args(), path)
            except BrokenPipe:
                if not again:
                    raise OutcomeUnknown(f"{path}: the file host died under the write: look what is there") from None
            except NotFound:  # a new host, which has not heard of it
                pass
            await self._reopen(file)
        raise BrokenPipe(f"{path}: {_REISSUES_MAX} file hosts in a row died under it: see 'kernos device list'")

    async def _reopen(self, file: OpenFile) -> None:
        path = file.spot.path
        try:
            found, _ = await self.open(file.spot, write=file.write)
        except NotFound:
            raise BrokenPipe(f"{path}: the file host died, and the file has no name any more") from None
        if found.identity != file.identity:
            self.forget(found)
            raise BrokenPipe(f"{path}: the file host died, and another file lies there by now: open it again")
        file.number = found.number

    async def _told(self, row: Row, make_args: Callable[[], Any], path: str, *, again: bool) -> Any:
        """A call by path: issued again after a host's death if it may be done twice, else EUNKNOWN."""
        for _ in range(_REISSUES_MAX):
            try:
                return await self._call(row, make_args(), path)
            except BrokenPipe:
                if not again:
                    raise OutcomeUnknown(f"{path}: the file host died under it: look what is there") from None
        raise BrokenPipe(f"{path}: {_REISSUES_MAX} file hosts in a row died under it: see 'kernos device list'")

    async def _call(self, row: Row, args: Any, path: str) -> Any:
        with trio.move_on_after(self._io_s):
            return await self.host.call(row, lambda device: replace(args, device=device))
        raise TimedOut(f"{path}: the file system did not answer in {self._io_s:g} s: does its mount hang?")
