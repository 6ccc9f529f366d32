"""The kernel as it is watched: `sys.kernel.metrics()`, `async for line in sys.kernel.log(follow=True)`."""

from typing import final

from syscalls.calls import watch
from syscalls.calls.watch import Level, Metrics
from syscalls.link.ticket import Stream
from userland.sdk.door import Door


@final
class Kernel:
    """The kernel, for whoever has the rights `kernel:log`, `kernel:events` and `kernel:metrics`."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def log(self, *, level: Level = "info", since: int = 0, tail: int = 1000, follow: bool = False) -> Stream:
        """Its log, as LogRecord."""
        return self._door.stream(watch.LOG, watch.Log(level=level, since=since, tail=tail, follow=follow))

    async def report(self, text: str, *, level: Level = "info") -> None:
        """Writes a line into its log."""
        await self._door.call(watch.REPORT, watch.Report(text=text, level=level))

    def events(self, *kinds: str, pid: int | None = None, since: int = 0, follow: bool = False) -> Stream:
        """What happens, as EventRecord; go on with `since` = the last seq that was seen."""
        return self._door.stream(watch.EVENTS, watch.Events(kinds=kinds, pid=pid, since=since, follow=follow))

    async def metrics(self) -> Metrics:
        """What it counts and measures."""
        told: Metrics = await self._door.call(watch.METRICS, watch.Measure())
        return told
