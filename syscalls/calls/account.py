"""The account family, 0x90: what was used, what may be, and how allowance is moved.

An account is asked for by its address: `own` (or nothing) for the caller's, a pid for that of a process, a name for
that of a principal or of kernos.toml. Resources go by the names of syscalls.resources: `tokens`, `tokens_in`,
`tokens_out`, `generation_us`, `calls`, `money_micros`, `bytes_stored`, `processes`, `contexts`. Amounts are whole
numbers of the unit in the name.
"""

from typing import Annotated, final

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import MANY, Args, Flag, Needs, Result, Row, Says

ACCOUNTS_MAX = 10_000
"""Of one listing."""


@final
class Usage(Args, frozen=True, kw_only=True):
    """Of which account; with `tree` those below it too, parents first, at most 10,000 of them."""

    account: str | None = None
    tree: bool = False


@final
class ResourceUse(Result, frozen=True, kw_only=True):
    """What of a resource the account and all below it used up or occupy, hold for work under way, and may use; `limit`
    None is none of its own, `room` None none on the way up either."""

    resource: str
    used: int = 0
    held: int = 0
    limit: int | None = None
    room: int | None = None


@final
class ModelUse(Result, frozen=True, kw_only=True):
    """What one model did for the account and all below it; `cached` of `tokens_in` came from its prefix cache."""

    model: str
    jobs: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    generation_us: int = 0
    money_micros: int = 0


@final
class AccountInfo(Result, frozen=True, kw_only=True):
    """One account. `address` is what it is asked for by, `pid` the process it was opened for (0: one with a name),
    `parent` the address of the one above ("" for a root), `depth` how far below the one that was asked for.

    `resources` are those of which something was used, is held, or is limited here or above."""

    address: str
    name: str
    principal: str
    pid: int = 0
    parent: str = ""
    depth: int = 0
    closed: bool = False
    resources: tuple[ResourceUse, ...] = ()
    models: tuple[ModelUse, ...] = ()


@final
class AccountUsage(Result, frozen=True, kw_only=True):
    """The account that was asked for, then those below it; `more` are left out."""

    accounts: tuple[AccountInfo, ...]
    more: int = 0


@final
class Limit(Args, frozen=True, kw_only=True):
    """New limits of `account` by resource (`tokens`, `tokens_in`, `tokens_out`, `generation_us`, `calls`,
    `money_micros`, `bytes_stored`, `processes`, `contexts`); None takes one away. Others stay.

    A limit below what is used already lets nothing more through; one above the parent's is let be, for the parent's
    still binds."""

    account: str | None = None
    limits: Annotated[dict[str, int | None], MANY]


@final
class Transfer(Args, frozen=True, kw_only=True):
    """How much of which resource goes from `source` (None: the caller's) to `target`: two accounts of one parent, or an
    account and one right below it. All or none."""

    source: str | None = None
    target: str
    amounts: Annotated[dict[str, int], MANY]


_NO_ACCOUNT = (Errno.ENOENT, "there is no account of that name; the message lists those that there are.")
_NO_PROCESS = (Errno.ESRCH, "there is no process of that pid.")
_DISK = (Errno.EIO, "it holds, but the disk did not take it: it may be as it was after a restart.")

USAGE = Row(
    0x90,
    "account.usage",
    Usage,
    AccountUsage,
    Needs("usage", "account:{account}"),
    Flag.IDEMPOTENT | Flag.JOURNALED,
    "What an account used, holds and may use, by resource and by model; with `tree` all below it too.",
    says=Says(
        waits="For no one: a large tree is told a part at a time, and others are served between.",
        cancelled="Nothing changes.",
        errors=(_NO_ACCOUNT, _NO_PROCESS),
    ),
)
LIMIT = Row(
    0x91,
    "account.limit",
    Limit,
    AccountInfo,
    Needs("limit", "account:{account}"),
    Flag.EFFECT | Flag.JOURNALED,
    "Sets, lowers, raises or takes away limits of an account. Those of an account with a name outlive the kernel, "
    "until kernos.toml says something else of that resource.",
    says=Says(
        waits="For the disk, where the account has a name.",
        cancelled="The limits are set.",
        errors=((Errno.EINVAL, "no limits, or one out of range."), _NO_ACCOUNT, _NO_PROCESS, _DISK),
    ),
)
TRANSFER = Row(
    0x92,
    "account.transfer",
    Transfer,
    Nothing,
    Needs("transfer", "account:{source}"),
    Flag.EFFECT | Flag.JOURNALED,
    "Moves allowance that is not used from one account to another. Between accounts of one parent the one limit falls "
    "as the other rises; between an account and one right below it only the lower one's limit moves, for the upper "
    "one's binds it anyway. It never makes allowance.",
    says=Says(
        waits="For the disk, where one of them has a name.",
        cancelled="It is moved, all of it.",
        errors=(
            (
                Errno.EINVAL,
                "no amounts, one out of range, accounts that are not so related, or no limit that could move.",
            ),
            (Errno.EQUOTA, "the source has not so much left; nothing was moved."),
            _NO_ACCOUNT,
            _NO_PROCESS,
            _DISK,
        ),
    ),
)

ROWS = (USAGE, LIMIT, TRANSFER)
