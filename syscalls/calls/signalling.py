"""The process family's groups and signals: 0x0D to 0x0F."""

from typing import Annotated, Literal, final

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import MANY, Args, Flag, Needs, Result, Row, Says

Action = Literal["default", "ignore", "event", "hold"]


@final
class Group(Args, frozen=True, kw_only=True):
    """Puts process `pid` into `group`, 0 for a new one of its own. A process begins in its parent's group, a child of a
    session in one of its own. Where a call takes a pid, minus a group stands for all that are in it: process.kill sends
    to each, process.wait waits for a child among them."""

    pid: int
    group: int = 0


@final
class Grouped(Result, frozen=True, kw_only=True):
    """The group that it is in now."""

    group: int


@final
class SignalAction(Args, frozen=True, kw_only=True):
    """What a signal by number (see syscalls.signals) does to the caller from now on.

    `default`: TERM ends the program and, after the grace time, its worker; all others are events. `event`: the program
    is told, also of TERM, and goes on. `ignore`: nothing. `hold`: it is kept, once, until process.sigwait takes it.
    KILL, STOP and CONT are the machine's own and always do what they do, and so does the end of a parent, of a
    budget's time or of the machine.
    """

    signal: int
    action: Action


@final
class SigWait(Args, frozen=True, kw_only=True):
    """Which signals by number, each on `hold`; `timeout_s` None waits for ever."""

    signals: Annotated[tuple[int, ...], MANY]
    timeout_s: float | None = None


@final
class Signalled(Result, frozen=True, kw_only=True):
    """The signal that came first."""

    signal: int


GROUP = Row(
    0x0D,
    "process.group",
    Group,
    Grouped,
    Needs("group", "process:{pid}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Puts a process into a group, so that it can be signalled and waited for with others.",
    says=Says(
        cancelled="It is answered at once.",
        errors=(
            (Errno.ESRCH, "no process of that pid, or none in that group."),
            (Errno.EINVAL, "a process of the kernel's own, or a group of another principal."),
        ),
    ),
)
SIGNAL = Row(
    0x0E,
    "process.signal",
    SignalAction,
    Nothing,
    None,
    Flag.INLINE | Flag.JOURNALED,
    "Says what a signal does to the caller: its default, nothing, an event, or to wait until it is asked for.",
    says=Says(errors=((Errno.EINVAL, "no such signal, or one whose action cannot be changed (KILL, STOP, CONT)."),)),
)
SIGWAIT = Row(
    0x0F,
    "process.sigwait",
    SigWait,
    Signalled,
    None,
    Flag.JOURNALED,
    "Waits for one of the signals that the caller holds, and takes it.",
    says=Says(
        waits="Waits until one of them has come, or for `timeout_s`; one that came before is taken at once.",
        cancelled="A signal that comes later is kept for the next who asks.",
        errors=(
            (
                Errno.EINVAL,
                "no signals, too many, or one that is not on hold: say so with process.signal first.",
            ),
            (Errno.ETIME, "none came in time."),
        ),
    ),
)

ROWS = (GROUP, SIGNAL, SIGWAIT)
