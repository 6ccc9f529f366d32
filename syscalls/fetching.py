"""The part of the driver ABI that a fetch broker serves: one request to one address, and its answer piece by piece.

Rights are the kernel's: it says whether the host may lie in a private network (`private`), and follows redirects
itself, hop by hop. Looking the name up, refusing addresses and connecting to just the one that was looked at is the
broker's. The kernel chooses an exchange's number, at random: see `syscalls.filing`.
"""

from typing import final

from syscalls.row import Args, Flag, Result, Row

Headers = tuple[tuple[str, str], ...]


@final
class Begin(Args, frozen=True, kw_only=True):
    """A request, its address in parts as `syscalls.weburl` makes them."""

    device: int
    exchange: int
    scheme: str
    host: str
    port: int
    authority: str
    target: str
    method: str
    headers: Headers = ()
    body: bytes = b""
    private: bool = False


@final
class Began(Result, frozen=True, kw_only=True):
    """The head of the answer, and the address that gave it. What the broker decodes is not named as encoded."""

    status: int
    headers: Headers
    address: str


@final
class Pull(Args, frozen=True, kw_only=True):
    """What has come of the body, at most `count` bytes."""

    device: int
    exchange: int
    count: int


@final
class Pulled(Result, frozen=True, kw_only=True):
    """Some bytes, decoded; with `done` they are the last."""

    data: bytes
    done: bool = False


@final
class Resolve(Args, frozen=True, kw_only=True):
    """A host's name."""

    device: int
    host: str


@final
class Resolved(Result, frozen=True, kw_only=True):
    """All its addresses, as numbers."""

    addresses: tuple[str, ...]


@final
class Release(Args, frozen=True, kw_only=True):
    """Drops an exchange: its connection is closed."""

    device: int
    exchange: int


@final
class Done(Result, frozen=True, kw_only=True):
    """No result."""


BEGIN = Row(0x40, "fetch.begin", Begin, Began, None, Flag.EFFECT, "Sends a request and waits for the answer's head.")
PULL = Row(0x41, "fetch.pull", Pull, Pulled, None, Flag(0), "The next of the answer's body.")
RELEASE = Row(0x42, "fetch.release", Release, Done, None, Flag(0), "Drops an exchange.")
RESOLVE = Row(0x43, "fetch.resolve", Resolve, Resolved, None, Flag.IDEMPOTENT, "The addresses of a name.")

ROWS = (BEGIN, PULL, RELEASE, RESOLVE)
