"""The server of the driver ABI: each call a task of its own, errors mapped, work counted."""

import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, final

import msgspec
import trio
from msgspec import Raw

from drivers.faults import as_syscall_error
from drivers.tally import Tally
from drivers.window import read_by
from syscalls import driver as abi
from syscalls import fetching, filing
from syscalls.codec import pack, parse_args
from syscalls.errors import Errno, Invalid, NoSyscall, NotFound, SyscallError
from syscalls.hooks import Device, Driver
from syscalls.link.duplex import Duplex
from syscalls.row import Row
from syscalls.wire import Call, Cancel, Event

VERBS = {
    abi.RENDER.number: "render",
    abi.EMBED.number: "embed",
    abi.TOKENIZE.number: "tokenize",
    abi.DETOKENIZE.number: "detokenize",
    abi.SCORE.number: "score",
    abi.ADD.number: "add",
    abi.QUERY.number: "query",
    abi.DELETE.number: "delete",
    abi.IDS.number: "ids",
    abi.SIZE.number: "size",
    filing.OPEN.number: "open",
    filing.READ.number: "read",
    filing.WRITE.number: "write",
    filing.REPLACE.number: "replace",
    filing.CLOSE.number: "release",
    filing.STAT.number: "stat",
    filing.SCAN.number: "scan",
    filing.NEXT.number: "next",
    filing.REMOVE.number: "remove",
    filing.MAKE_FOLDER.number: "make_folder",
    filing.RENAME.number: "rename",
    fetching.BEGIN.number: "begin",
    fetching.PULL.number: "pull",
    fetching.RELEASE.number: "release",
    fetching.RESOLVE.number: "resolve",
}
"""Rows that are one method of the device they name. OPEN, CLOSE, LEDGER and GENERATE are the host's own."""


@final
class DriverServer:
    """Serves one driver over one link. `load` makes the driver, in a thread, when the first device is opened, so that
    HELLO need not wait for it; a `driver` that is there already needs no thread (on the virtual clock)."""

    def __init__(
        self,
        name: str,
        load: Callable[[], Driver],
        nursery: trio.Nursery,
        *,
        driver: Driver | None = None,
        page: memoryview | None = None,
    ) -> None:
        self._name = name
        self._load = load
        self._nursery = nursery
        self._driver = driver
        self._devices: dict[int, Device] = {}
        self._next_device = 1
        self._scopes: dict[int, trio.CancelScope] = {}
        self.tally = Tally(page)

    def on_call(self, link: Duplex, call: Call) -> None:
        row = abi.TABLE.get(call.number) if isinstance(call.number, int) else None
        if row is None:
            link.error(call.id, Errno.ENOSYS, f"the driver ABI has no call {call.number!r}")
            return
        scope = self._scopes[call.id] = trio.CancelScope()
        self._nursery.start_soon(self._serve, link, call, row, scope)

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        scope = self._scopes.get(cancel.id)
        if scope is not None:
            scope.cancel()

    def on_event(self, link: Duplex, event: Event) -> None:
        pass

    async def close(self) -> None:
        """Closes every device; one that fails to close does not keep the others open."""
        for handle in tuple(self._devices):
            try:
                await self._devices.pop(handle).close()
            except Exception:
                traceback.print_exc()

    async def _serve(self, link: Duplex, call: Call, row: Row, scope: trio.CancelScope) -> None:
        try:
            with scope:
                result = await self._answer(link, call, row)
                if row.streams:
                    link.end(call.id, result)
                else:
                    link.reply(call.id, result)
                return
            link.error(call.id, Errno.ECANCELED, f"{row.name} was cancelled by its caller")
        except Exception as error:
            _refuse(link, call, error)
        finally:
            del self._scopes[call.id]

    async def _answer(self, link: Duplex, call: Call, row: Row) -> Any:
        args = parse_args(row, call.args)
        match args:
            case abi.Open():
                return await self._open(args)
            case abi.Generate():
                return await self._generate(link, call.id, args)
            case abi.Device():
                return await self._close(args)
            case abi.Nothing():
                return self.tally.ledger()
            case _:
                return await self._verb(row, args)

    async def _open(self, args: abi.Open) -> abi.Opened:
        driver = self._driver_of()
        if args.kind not in driver.kinds:
            raise NoSyscall(f"{driver.name} serves {', '.join(driver.kinds)}, not a device of kind {args.kind}")
        device = await driver.open(args)
        handle = self._next_device
        self._next_device += 1
        self._devices[handle] = device
        return msgspec.structs.replace(device.opened, device=handle)

    def _driver_of(self) -> Driver:
        """Loads it here and now, not in a thread: importing a driver is cheap, and a virtual clock jumps past
        threads."""
        if self._driver is None:
            self._driver = self._load()
        return self._driver

    async def _close(self, args: abi.Device) -> abi.Done:
        device = self._devices.pop(args.device, None)
        if device is not None:
            await device.close()
        return abi.Done()

    async def _generate(self, link: Duplex, call_id: int, args: abi.Generate) -> abi.Finished:
        generate = self._method(args.device, "generate")
        begun, emitted = len(args.prompt) + len(args.generated), 0

        def emit(tokens: abi.Tokens) -> None:
            nonlocal emitted
            emitted += len(tokens.ids)
            self.tally.emitted(tokens)
            link.items(call_id, [Raw(pack(tokens))])

        self.tally.began(begun)
        try:
            finished: abi.Finished = await generate(args, emit)
        except Exception:
            self.tally.refused(begun=begun, emitted=emitted)
            raise
        except BaseException:  # cancelled; a driver that was waiting in a nursery of its own raises a group
            self.tally.cancelled()
            raise
        self.tally.finished(finished, begun=begun, emitted=emitted)
        return finished

    async def _verb(self, row: Row, args: Any) -> Any:
        method = self._method(args.device, VERBS[row.number])
        try:
            result = await method(args)
        except Exception:
            raise
        except BaseException:  # cancelled, as above
            if isinstance(args, abi.Score):
                self.tally.scored(read_by(args))
            raise
        if isinstance(result, abi.Embedded):
            self.tally.embedded(result)
        elif isinstance(result, abi.Scored):
            self.tally.scored(result.prompt_tokens)
        elif isinstance(result, abi.Rendered):
            return _within(args.ids_max, result)
        return abi.Done() if result is None else result

    def _method(self, handle: int, verb: str) -> Callable[..., Awaitable[Any]]:
        device = self._devices.get(handle)
        if device is None:
            raise NotFound(f"no device {handle} is open on this host: call driver.open first")
        method: Callable[..., Awaitable[Any]] | None = getattr(device, verb, None)
        if method is None:
            raise NoSyscall(f"a device of {self._name} does not {verb}")
        return method


def _within(ids_max: int | None, rendered: abi.Rendered) -> abi.Rendered:
    """The ids, or where they are more than that, how many there are."""
    counts = (len(rendered.head), *map(len, rendered.segments), len(rendered.tail))
    return rendered if ids_max is None or sum(counts) <= ids_max else abi.Rendered(counts=counts)


def _refuse(link: Duplex, call: Call, error: Exception) -> None:
    """Answers with the mapped error; what the driver did not mean to say goes to stderr whole."""
    if not isinstance(error, SyscallError):
        traceback.print_exception(error, file=sys.stderr)
    told = as_syscall_error(error)
    link.error(call.id, told.errno, told.message or Invalid.__name__)
