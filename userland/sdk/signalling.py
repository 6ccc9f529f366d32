"""Groups and signals, from a program's side."""

from typing import final

from syscalls.calls import process, signalling
from syscalls.calls.signalling import Action, Grouped, Signalled
from syscalls.signals import Signal, parse_signal
from userland.sdk.door import Door


@final
class Signalling:
    """`sys.signalling`: what signals do to this process, and sending them to groups."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def choose(self, signal: Signal | str, action: Action) -> None:
        """What `signal` does to this process from now on: `default`, `ignore`, `event` (of TERM too) or `hold`."""
        number = int(_number(signal))
        await self._door.call(signalling.SIGNAL, signalling.SignalAction(signal=number, action=action))

    async def wait(self, *signals: Signal | str, timeout_s: float | None = None) -> Signal:
        """The first of `signals` to come; each must be on `hold`. Raises TimedOut (ETIME)."""
        numbers = tuple(int(_number(signal)) for signal in signals)
        got: Signalled = await self._door.call(
            signalling.SIGWAIT, signalling.SigWait(signals=numbers, timeout_s=timeout_s)
        )
        return Signal(got.signal)

    async def group(self, pid: int, group: int = 0) -> int:
        """Puts `pid` into `group`, 0 for a new one of its own; the group it is in now."""
        got: Grouped = await self._door.call(signalling.GROUP, signalling.Group(pid=pid, group=group))
        return got.group

    async def send(self, group: int, signal: Signal | str = Signal.TERM) -> None:
        """Sends a signal to each process of `group`."""
        await self._door.call(process.KILL, process.Kill(pid=-group, signal=int(_number(signal))))


def _number(signal: Signal | str) -> Signal:
    return parse_signal(signal) if isinstance(signal, str) else signal
