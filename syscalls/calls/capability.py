"""The capability family, 0x80: what a process may do, what it hands on, what it asks for."""

from typing import Literal, final

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import Args, Flag, Needs, Result, Row, Says

RequestState = Literal["pending", "allowed", "denied"]


@final
class ListOwn(Args, frozen=True, kw_only=True):
    """No arguments."""


@final
class HeldBy(Args, frozen=True, kw_only=True):
    """The process whose capabilities are wanted."""

    pid: int


@final
class CapabilityInfo(Result, frozen=True, kw_only=True):
    """One capability: its number, the right it is, who holds it, the number of the one it was made from (0: none) and
    who holds that. `left_s` and `uses_left` are its limits, those of what it was made from included; None: none."""

    capability: int
    right: str
    pid: int
    parent: int = 0
    giver: int = 0
    left_s: float | None = None
    uses_left: int | None = None


@final
class Held(Result, frozen=True, kw_only=True):
    """Capabilities, the oldest first."""

    capabilities: tuple[CapabilityInfo, ...]


@final
class Attenuate(Args, frozen=True, kw_only=True):
    """A narrower handle for the caller itself: `right` (None: the same right) of `capability`, or with 0 of whichever
    the caller holds that covers it; for `life_s` seconds and `uses` calls at most (None: without that limit)."""

    capability: int = 0
    right: str | None = None
    life_s: float | None = None
    uses: int | None = None


@final
class Grant(Args, frozen=True, kw_only=True):
    """As Attenuate, for process `pid`; `why` goes into the trace."""

    pid: int
    capability: int = 0
    right: str | None = None
    life_s: float | None = None
    uses: int | None = None
    why: str = ""


@final
class Revoke(Args, frozen=True, kw_only=True):
    """Which capability, and why: the sentence that calls under way are ended with."""

    capability: int
    why: str = ""


@final
class Revoked(Result, frozen=True, kw_only=True):
    """How many capabilities fell: the one named, and what had been made from it."""

    capabilities: int


@final
class Request(Args, frozen=True, kw_only=True):
    """The right wanted, and a sentence for whoever decides. After `timeout_s` (None: what kernos.toml says) the answer
    is no."""

    right: str
    reason: str = ""
    timeout_s: float | None = None


@final
class ListRequests(Args, frozen=True, kw_only=True):
    """With `follow` also those that come, until cancelled."""

    follow: bool = False


@final
class RequestInfo(Result, frozen=True, kw_only=True):
    """A request: by which program, in the process that asked last; `waiting` processes wait for the answer. With
    `always` the answer stands for that program for good. `left_s` is the time left to answer."""

    request: int
    right: str
    reason: str
    state: RequestState
    pid: int
    name: str
    program: str
    principal: str
    waiting: int = 0
    always: bool = False
    left_s: float | None = None


@final
class Answer(Args, frozen=True, kw_only=True):
    """Yes or no to `request`: for the processes that wait, or if none does any more for the program's next one that
    asks in time; with `always` for all that this program of this principal will ever ask the same."""

    request: int
    allow: bool
    always: bool = False


@final
class Forget(Args, frozen=True, kw_only=True):
    """The request, or the answer that stands, that is to be dropped."""

    request: int


_MADE_WIDER = (
    (Errno.EPERM, "it would be wider than what it is made from, or the capability is not the caller's."),
    (Errno.EINVAL, "the right cannot be read, or a limit is none."),
    (Errno.EAGAIN, "the holder has as many capabilities as there may be."),
)
_NO_REQUEST = (Errno.ENOENT, "there is no such request (any more).")

LIST = Row(
    0x80, "capability.list", ListOwn, Held, None, Flag.INLINE | Flag.JOURNALED,
    "What the caller may do, as handles that it can hand on.",
)  # fmt: skip
HELD = Row(
    0x81, "capability.held", HeldBy, Held, Needs("capabilities", "process:{pid}"), Flag.INLINE | Flag.JOURNALED,
    "What another process may do, and from whom it has that.",
)  # fmt: skip
ATTENUATE = Row(
    0x82, "capability.attenuate", Attenuate, CapabilityInfo, None, Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Makes a narrower handle from one that the caller holds: to grant it, to lend it, or to give up the wider one.",
    says=Says(errors=_MADE_WIDER),
)  # fmt: skip
GRANT = Row(
    0x83, "capability.grant", Grant, CapabilityInfo, Needs("grant", "process:{pid}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Gives a process a capability made from one of the caller's. It ends when it is revoked, when what it was made "
    "from ends, or when the receiver's parent loses it.",
    says=Says(errors=(*_MADE_WIDER, (Errno.ESRCH, "there is no such process, or it has ended."))),
)  # fmt: skip
REVOKE = Row(
    0x84, "capability.revoke", Revoke, Revoked, Needs("revoke", "capability:{capability}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Takes a capability and all that was made from it. Calls under way that it let in are cancelled and refused, "
    "with the reason; what they held is settled. A process needs no right for its own and for what was made from them.",
    says=Says(errors=((Errno.ENOENT, "there is no such capability (any more)."),)),
)  # fmt: skip
REQUEST = Row(
    0x85, "capability.request", Request, CapabilityInfo, None, Flag.EFFECT | Flag.JOURNALED,
    "Asks for a right at run time. The policy of kernos.toml answers, or an answer that stands, or the operator; "
    "silence is no. What the caller holds already is given at once.",
    says=Says(
        waits="Until somebody answers, at most the time given.",
        cancelled="The request stays to be answered until its time is over, also over a restart of the kernel; the "
        "program's next process that asks the same finds the answer.",
        errors=(
            (Errno.EPERM, "the answer was no, or nobody answered in time, or the caller's parent lacks the right."),
            (Errno.EAGAIN, "too many requests wait for an answer."),
        ),
    ),
)  # fmt: skip
REQUESTS = Row(
    0x86, "capability.requests", ListRequests, Nothing, Needs("list", "kernel:requests"), Flag.STREAM | Flag.IDEMPOTENT,
    "The requests that wait for an answer, and the answers that stand.", RequestInfo,
    says=Says(waits="With follow, for the next one."),
)  # fmt: skip
ANSWER = Row(
    0x87, "capability.answer", Answer, RequestInfo, Needs("answer", "kernel:requests"), Flag.EFFECT | Flag.JOURNALED,
    "Answers a request.",
    says=Says(waits="For the disk.", cancelled="It is done or it is not; a second one tells.", errors=(
            _NO_REQUEST,
            (Errno.EINVAL, "an answer for good to a process that is no program."),
            (Errno.EAGAIN, "as many answers stand as there may be: forget one."),
        ),
    ),
)  # fmt: skip
FORGET = Row(
    0x88, "capability.forget", Forget, Nothing, Needs("answer", "kernel:requests"), Flag.EFFECT | Flag.JOURNALED,
    "Drops a request (whoever waits for it is told no) or an answer that stands; what was granted stays granted.",
    says=Says(waits="For the disk.", cancelled="It is done or it is not; a second one tells.", errors=(_NO_REQUEST,)),
)  # fmt: skip

ROWS = (LIST, HELD, ATTENUATE, GRANT, REVOKE, REQUEST, REQUESTS, ANSWER, FORGET)
