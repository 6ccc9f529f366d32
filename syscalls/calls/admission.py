"""Of the kernel family: how a front door (the gateway) says whom it lets in. Its own rights serve nobody."""

from typing import Annotated, final

from syscalls.errors import Errno
from syscalls.row import MANY, SECRET, Args, Flag, Needs, Result, Row, Says

PRINCIPAL_CHARS_MAX = 64
RIGHTS_MAX = 256
IDS_MAX = 32


@final
class Admit(Args, frozen=True, kw_only=True):
    """Whom the caller has verified: `principal` (letters, digits, `.`, `_`, `@`, `-`), the `rights` that what it showed
    gives it, the `ids` by which that may be revoked, when it expires (seconds since 1970; None: never) and where it
    calls from, for the trace."""

    principal: str
    rights: Annotated[tuple[str, ...], MANY]
    ids: Annotated[tuple[str, ...], MANY] = ()
    expires_s: float | None = None
    address: str = ""


@final
class Admitted(Result, frozen=True, kw_only=True):
    """Goes into the credential of one HELLO on the kernel's socket, once and soon: that connection is then a session of
    this principal, with these rights and no others."""

    ticket: Annotated[bytes, SECRET]


@final
class Expel(Args, frozen=True, kw_only=True):
    """What has been revoked, by the ids of `kernel.admit`."""

    ids: Annotated[tuple[str, ...], MANY]
    reason: str = "revoked"


@final
class Expelled(Result, frozen=True, kw_only=True):
    """How many sessions were ended."""

    sessions: int


_NEEDS = Needs("admit", "kernel:sessions")

ADMIT = Row(
    0xA6,
    "kernel.admit",
    Admit,
    Admitted,
    _NEEDS,
    Flag.INLINE,
    "Lets a verified principal in: a ticket for one session.",
    says=Says(
        errors=(
            (
                Errno.EINVAL,
                "The principal's name, a right, or the number of rights or ids cannot be, or the name is nobody's.",
            ),
            (Errno.EAGAIN, "As many tickets as the kernel keeps wait to be used."),
        ),
    ),
)
EXPEL = Row(
    0xA7,
    "kernel.expel",
    Expel,
    Expelled,
    _NEEDS,
    Flag.INLINE | Flag.IDEMPOTENT,
    "Ends the sessions whose certificate or credential was revoked.",
)

ROWS = (ADMIT, EXPEL)
