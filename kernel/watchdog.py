"""Extensions under watch: what trusted code decides inside the kernel is timed and checked, and is disabled for good by
the first decision that fails.

An extension runs in the kernel's own process and thread. Its operator trusts it not to be hostile; that it has no bug
nobody can promise. So every decision goes through `Watched.ask`: one that raises, that is nonsense, or that took longer
than its bound on the kernel's clock costs the extension its place until the next boot, and the kernel decides as it
does without one. A decision that never ends is broken into (`Interrupter`); in a thread of its own it would go on for
ever.

What an answer may cost at worst is not for this page: whoever asks accepts only answers that keep the kernel's
invariants.
"""

import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any, Generic, TypeVar, final

from kernel.clock import Clock

Extension = TypeVar("Extension")
Answer = TypeVar("Answer")
WHY_CHARS_MAX = 200

Tell = Callable[[str, str, str], None]
"""Takes what was disabled: its kind, its name, and why."""


class Nonsense(Exception):
    """An answer that cannot be: the message says what is wrong with it."""


class Overrun(BaseException):
    """Raised in the middle of a decision that did not end. No Exception: who catches those does not stop it."""


@final
class Interrupter:
    """SIGALRM breaks into Python code of the main thread, and into what waits there. Make one in the main thread, once
    for an OS process; elsewhere `made` gives None, and decisions are only timed."""

    def __init__(self) -> None:
        self._armed = False
        signal.signal(signal.SIGALRM, self._ring)

    @classmethod
    def made(cls) -> "Interrupter | None":
        """One where there can be one: in the main thread, when nobody else wants the signal."""
        free = signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, signal.SIG_IGN)
        return cls() if free and threading.current_thread() is threading.main_thread() else None

    def retire(self) -> None:
        """Gives the signal back."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Raises Overrun in the block when `seconds` have passed, and again for a block that swallows it."""
        try:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
            try:
                yield
            finally:
                self._armed = False
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        if self._armed:
            raise Overrun


@final
class Watch:
    """What all extensions are watched by: the clock, the bound, who breaks in, who is told."""

    def __init__(self, clock: Clock, *, bound_s: float, tell: Tell, breaker: Interrupter | None = None) -> None:
        self.clock = clock
        self.bound_s = bound_s
        self.tell = tell
        self.breaker = breaker


@final
class Watched(Generic[Extension]):
    """One object of an extension. `disabled` says why it is not asked any more, "" while it is."""

    def __init__(self, kind: str, name: str, extension: Extension, watch: Watch) -> None:
        self.kind = kind
        self.name = name
        self.disabled = ""
        self._extension = extension
        self._watch = watch

    def ask(self, decide: Callable[[Extension], Any], accept: Callable[[Any], Answer]) -> Answer | None:
        """What `decide` answers, as `accept` takes it (which raises Nonsense); None where the extension is disabled, or
        is so from now on. Never raises for what the extension did."""
        if self.disabled:
            return None
        began_s = self._watch.clock.now()
        try:
            answer = self._decided(decide, accept)
            if self._watch.clock.now() - began_s <= self._watch.bound_s:
                return answer
            raise Overrun
        except Overrun:
            self._disable(f"a decision took longer than {self._watch.bound_s:g} s")
        except Nonsense as nonsense:
            self._disable(f"it answered nonsense: {nonsense}")
        except BaseException as failed:
            self._disable(f"it raised {_told(failed)}")
        return None

    def _decided(self, decide: Callable[[Extension], Any], accept: Callable[[Any], Answer]) -> Answer:
        """Decided and looked at, both in time: an answer may be an object that never ends either."""
        breaker = self._watch.breaker
        with breaker.within(self._watch.bound_s) if breaker is not None else nullcontext():
            answer = decide(self._extension)
            if inspect.iscoroutine(answer):
                answer.close()
                raise Nonsense("a coroutine; a decision is a plain function")
            return accept(answer)
        raise AssertionError("unreachable")

    def _disable(self, why: str) -> None:
        self.disabled = " ".join(why.split())[:WHY_CHARS_MAX]
        self._watch.tell(self.kind, self.name, self.disabled)


def _told(failed: BaseException) -> str:
    """An exception as text; what it says of itself may fail, too."""
    try:
        return f"{type(failed).__name__}: {failed}"
    except BaseException:
        return type(failed).__name__
