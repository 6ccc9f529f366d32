"""The net family: hop by hop through the broker, each hop under its own right, the body as fast as it is read."""

from collections.abc import Awaitable
from typing import TypeVar, final

import trio

from kernel.gate import Handler
from kernel.hosts.fetch import Web
from kernel.machine import Machine
from kernel.trap import Trap
from kernel.webrequest import Request, first_request, redirected
from syscalls import fetching
from syscalls.calls import net as abi
from syscalls.errors import IOFailed, PermissionDenied, TimedOut
from syscalls.limits import KIB, MIB

T = TypeVar("T")
PIECE_BYTES = 48 * KIB
READ_AHEAD_BYTES = 1 * MIB
PRIVATE = "private"
"""The action that lets a right reach addresses of private networks."""


async def fetch(machine: Machine, trap: Trap, args: abi.Fetch) -> abi.Fetched:
    request, web = first_request(args), machine.devices.web
    web.enter(trap.process.pid, machine.config.bounds.fetches_max)
    try:
        return await _Fetching(web, trap, args).run(request)
    finally:
        web.leave(trap.process.pid)


@final
class _Fetching:
    """One call of net.fetch."""

    def __init__(self, web: Web, trap: Trap, args: abi.Fetch) -> None:
        self._web = web
        self._trap = trap
        self._args = args
        self._left_s = args.timeout_s
        self._where = ""

    async def run(self, request: Request) -> abi.Fetched:
        """Follows redirects; a right is asked for each before anything is sent there."""
        for hops in range(self._args.redirects + 1):
            following = await self._hop(request)
            if isinstance(following, abi.Fetched):
                return abi.Fetched(bytes=following.bytes, truncated=following.truncated, redirects=hops)
            self._trap.require(following.method.lower(), following.url.names)
            request = following
        raise IOFailed(f"more than {self._args.redirects} redirects, the last to {request.url.origin}: ask there")

    async def _hop(self, request: Request) -> Request | abi.Fetched:
        number = self._web.number()
        self._where = f"{request.method} {request.url.origin}{request.url.path}"
        self._trap.detail = self._where
        try:
            answer = await self._patiently(self._begin(number, request))
            self._trap.detail = f"{self._where} -> {answer.status} from {answer.address}"
            if self._args.redirects:
                following = redirected(request, answer.status, answer.headers)
                if following is not None:
                    return following
            head = abi.FetchPiece(status=answer.status, headers=answer.headers, url=str(request.url))
            self._trap.emit(head)
            return await self._pour(number)
        finally:
            self._web.drop(number)

    async def _begin(self, number: int, request: Request) -> fetching.Began:
        private = _granted(self._trap, request)
        try:
            return await self._web.begin(number, request, private=private)
        except PermissionDenied as refused:
            url, method = request.url, request.method.lower()
            right = f"net:{url.origin}/** {method},{PRIVATE}"
            raise PermissionDenied(f"{refused.message}: grant it with --allow '{right}'") from None

    async def _pour(self, number: int) -> abi.Fetched:
        """Pulls on only when the reader has taken what there was."""
        done, bound = 0, self._args.bytes_max
        while True:
            pulled = await self._patiently(self._web.pull(number, min(READ_AHEAD_BYTES, bound - done + 1)))
            data = pulled.data[: bound - done]
            for at in range(0, len(data), PIECE_BYTES):
                self._trap.emit(abi.FetchPiece(data=data[at : at + PIECE_BYTES]))
            done += len(data)
            truncated = len(pulled.data) > len(data)
            if truncated or pulled.done:
                self._trap.detail += f", {done} bytes{' and more' if truncated else ''}"
                return abi.Fetched(bytes=done, truncated=truncated)
            await self._trap.room()

    async def _patiently(self, work: Awaitable[T]) -> T:
        """What the network takes counts against the time that was allowed. Raises TimedOut (ETIME)."""
        began = trio.current_time()
        try:
            with trio.move_on_after(self._left_s):
                return await work
        finally:
            took = trio.current_time() - began
            self._left_s = max(0.0, self._left_s - took)
            self._trap.driver_s += took
        raise TimedOut(f"{self._where} took longer than {self._args.timeout_s:g} s: allow more with timeout_s")


def _granted(trap: Trap, request: Request) -> bool:
    """Whether the right reaches addresses of private networks."""
    try:
        trap.require(PRIVATE, request.url.names)
    except PermissionDenied:
        return False
    return True


HANDLERS: dict[int, Handler] = {abi.FETCH.number: fetch}
