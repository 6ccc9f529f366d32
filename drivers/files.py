"""The driver of files: what programs read and write below the folders that their rights name.

It is a host of its own, and not the kernel, because file calls block where no timeout helps: on a mount whose server is
gone a thread waits for ever. Here that costs threads of this process and nobody else's: at most PER_ROOT_MAX for one
root, so that a mount that hangs starves only itself; whoever waits for it is told so by the kernel's own deadline.

Options: `never`, folders that no right reaches, one a line (the kernel names its state); `threads`, 0 to do everything
in the loop's own thread, as tests on a virtual clock need it, which jumps past threads.
"""

from collections.abc import Callable
from typing import Any, TypeVar, final

import msgspec
import trio
from msgspec import Struct

from drivers.filing.tree import Files
from syscalls import filing as abi
from syscalls.driver import Kind, Open, Opened
from syscalls.errors import Invalid
from syscalls.hooks import Device, hookimpl

T = TypeVar("T")
CAN = ("open", "read", "write", "replace", "stat", "scan", "remove", "make_folder", "rename")
PER_ROOT_MAX = 8
THREADS_MAX = 32


@final
class FilesOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options; see the head of the module."""

    never: str = ""
    threads: int = THREADS_MAX

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= 256:
            raise ValueError("threads is a number from 0 to 256")


@final
class Lane:
    """The threads that one root may take, and how many calls are in it or wait for it."""

    def __init__(self) -> None:
        self.room = trio.Semaphore(PER_ROOT_MAX)
        self.calls = 0


@final
class FileDevice:
    """The operations of `drivers.filing.tree`, each in a thread."""

    def __init__(self, options: FilesOptions) -> None:
        self._files = Files(tuple(line for line in options.never.splitlines() if line))
        self._threads = trio.CapacityLimiter(options.threads) if options.threads else None
        self._lanes: dict[str, Lane] = {}
        self._root_of: dict[int, str] = {}
        self._opening: dict[int, bool] = {}
        self.opened = Opened(device=0, can=CAN, detail={"confined by": "openat2"})

    async def open(self, call: abi.Open, /) -> abi.Opened:
        return await self._keep(call.file, call.tree.root, self._files.open, call)

    async def scan(self, call: abi.Scan, /) -> abi.Opened:
        return await self._keep(call.file, call.tree.root, self._files.scan, call)

    async def read(self, call: abi.Read, /) -> abi.Bytes:
        return await self._do(self._root_of.get(call.file, ""), self._files.read, call)

    async def write(self, call: abi.Write, /) -> abi.Changed:
        return await self._do(self._root_of.get(call.file, ""), self._files.write, call)

    async def next(self, call: abi.Next, /) -> abi.Entries:
        return await self._do(self._root_of.get(call.file, ""), self._files.next, call)

    async def replace(self, call: abi.Replace, /) -> abi.Changed:
        return await self._do(call.tree.root, self._files.replace, call)

    async def stat(self, call: abi.Place, /) -> abi.Stat:
        return await self._do(call.tree.root, self._files.stat, call)

    async def remove(self, call: abi.Place, /) -> abi.Changed:
        return await self._do(call.tree.root, self._files.remove, call)

    async def make_folder(self, call: abi.MakeFolder, /) -> None:
        await self._do(call.tree.root, self._files.make_folder, call)

    async def rename(self, call: abi.Rename, /) -> abi.Changed:
        return await self._do(call.tree.root, self._files.rename, call)

    async def release(self, call: abi.File, /) -> None:
        """Closing waits for no lane. What is still being opened is closed as soon as it is."""
        if call.file in self._opening:
            self._opening[call.file] = False
            return
        root = self._root_of.pop(call.file, None)
        if root is not None:
            await self._threaded(self._files.close, call)

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self._files.close_all()

    async def _keep(self, number: int, root: str, operation: Callable[[Any], T], call: Any) -> T:
        self._opening[number] = True
        try:
            opened = await self._do(root, operation, call)
        except BaseException:
            del self._opening[number]
            raise
        self._root_of[number] = root
        if not self._opening.pop(number):
            await self.release(abi.File(device=0, file=number))
        return opened

    async def _do(self, root: str, operation: Callable[[Any], T], call: Any) -> T:
        """Runs it in one of the threads that `root` may take. It is not given up when its caller is: what it has
        opened would be lost."""
        lane = self._lanes.setdefault(root, Lane())
        lane.calls += 1
        try:
            async with lane.room:
                return await self._threaded(operation, call)
        finally:
            lane.calls -= 1
            if not lane.calls:
                self._lanes.pop(root, None)

    async def _threaded(self, operation: Callable[[Any], T], call: Any) -> T:
        if self._threads is None:
            await trio.lowlevel.checkpoint()
            return operation(call)
        return await trio.to_thread.run_sync(operation, call, limiter=self._threads)


@final
class FilesDriver:
    """Opens the one device of a file host; its origin is only a name."""

    name = "files"
    kinds: tuple[Kind, ...] = ("files",)

    async def open(self, call: Open, /) -> Device:
        await trio.lowlevel.checkpoint()
        try:
            return FileDevice(msgspec.convert(call.options, FilesOptions, strict=False))
        except msgspec.ValidationError as bad:
            raise Invalid(f"files: {bad}") from None


@hookimpl
def kernos_driver() -> FilesDriver:
    """Files below folders."""
    return FilesDriver()
