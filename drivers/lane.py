"""A thread of a device's own: a library that holds a database or an engine is called from it, call after call."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, final

import trio

T = TypeVar("T")


@final
class Lane:
    """One thread, always the same, in the order of the calls.

    A caller that is cancelled goes at once; what it began ends unseen, and what still waited is not begun.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises RuntimeError once the lane is closed."""
        await trio.lowlevel.checkpoint_if_cancelled()
        loop = trio.lowlevel.current_trio_token()
        done = trio.Event()
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: _tell(loop, done))
        try:
            await done.wait()
        except trio.Cancelled:
            future.cancel()
            raise
        return _result(future)

    def close(self) -> None:
        """Takes no more calls; the thread ends after what it has begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _tell(loop: trio.lowlevel.TrioToken, done: trio.Event) -> None:
    try:
        loop.run_sync_soon(done.set)
    except trio.RunFinishedError:
        pass


def _result(future: Future[T]) -> T:
    return future.result()
