"""A process that this program started."""

from typing import Any, final

from syscalls.calls import message, process
from syscalls.calls.process import Exit
from syscalls.signals import Signal, parse_signal
from userland.sdk.door import Door
from userland.sdk.encoding import decode, encode


class ChildFailed(Exception):
    """A child ended otherwise than by returning; `exit` says how, and what it cost."""

    def __init__(self, exit_: Exit) -> None:
        super().__init__(f"process {exit_.pid} {exit_.status.replace('_', ' ')}: {exit_.error or 'it gave no reason'}")
        self.exit = exit_


@final
class Terminated(ChildFailed):
    """A child was asked to end (TERM) and did."""


@final
class Child:
    """A process below this one. It ends with its parent unless it was spawned detached."""

    def __init__(self, door: Door, pid: int) -> None:
        self._door = door
        self.pid = pid

    async def wait(self, kind: Any = Any, *, timeout_s: float | None = None) -> Any:
        """What the child returned, as `kind`. Raises ChildFailed (Terminated after TERM), TimedOut (ETIME); a second
        wait is ESRCH."""
        exit_ = await self.ended(timeout_s=timeout_s)
        if exit_.status == "terminated":
            raise Terminated(exit_)
        if exit_.status != "done":
            raise ChildFailed(exit_)
        return decode(exit_.value, kind)

    async def ended(self, *, timeout_s: float | None = None) -> Exit:
        """How the child ended, whichever way: status, value, tokens, seconds. Raises TimedOut (ETIME)."""
        exit_: Exit = await self._door.call(process.WAIT, process.Wait(pid=self.pid, timeout_s=timeout_s))
        return exit_

    async def kill(self, signal: Signal | str = Signal.TERM) -> None:
        """Sends a signal."""
        number = parse_signal(signal) if isinstance(signal, str) else signal
        await self._door.call(process.KILL, process.Kill(pid=self.pid, signal=int(number)))

    async def send(self, body: Any, *, topic: str = "", timeout_s: float | None = None) -> None:
        """Puts a message into the child's mailbox; waits while that is full."""
        raw = encode(body, what="the message is a value of type")
        await self._door.call(message.SEND, message.Send(pid=self.pid, body=raw, topic=topic, timeout_s=timeout_s))
