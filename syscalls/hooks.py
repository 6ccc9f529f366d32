"""The extension points of kernos on one page: each hook, and the protocol of what it returns.

An extension is a module (or any object) with hook implementations:

    from kernos.hooks import hookimpl

    @hookimpl
    def kernos_scheduling_policies():
        return [ShortestFirst()]

It is found by an entry point of the group `kernos.extensions`, and is loaded only where an operator trusts it by name
(`trust` in kernos.toml): policies and model sources are run by the kernel itself, commands by the command line, with
all that these may do. Whatever needs no such trust is a plugin: programs and tools run in a jail, with the rights that
they were granted, and need no hook.

A driver has a host of its own, so it has a group of its own, `kernos.drivers`; it can be named `module:attribute`, too.
Importing it must be cheap: what is heavy (torch, chromadb) is imported when a device is opened. The host
(`drivers.host`) does the rest: frames, cancellation, errno, the ledger.

`pluggy.HookimplMarker("kernos")` is the same marker, so that another package need not import this module.

Errors of drivers and model sources: raise a `SyscallError` for what the caller must know; in drivers ValueError becomes
EINVAL, FileNotFoundError ENOENT, all else EIO with the exception's name (`drivers.faults`). What a device cannot do it
refuses with NoSyscall (ENOSYS), or has no method for, and does not name in `Opened.can`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, final

import pluggy
from msgspec import Struct

from syscalls.driver import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Finished,
    Generate,
    Ids,
    Kind,
    Open,
    Opened,
    Render,
    Rendered,
    Score,
    Scored,
    Sized,
    StoreAdd,
    StoreDelete,
    StoreHits,
    StoreIds,
    StoreQuery,
    StoreSize,
    Tokenize,
    Tokenized,
    Tokens,
)

if TYPE_CHECKING:
    import click

PROJECT = "kernos"
DRIVERS = "kernos.drivers"
"""The group of entry points of drivers."""
EXTENSIONS = "kernos.extensions"
"""The group of entry points of everything else on this page."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Emit = Callable[[Tokens], None]
"""Takes one item of a generation. Never waits; called on the loop's own thread."""


class Device(Protocol):
    """One device that is open. Its methods may be called while others still run; cancelling the caller's scope cancels
    one.

    The handle in `opened` is the host's: a driver leaves it 0.
    """

    @property
    def opened(self) -> Opened: ...

    async def close(self) -> None:
        """Frees what it holds; calls that still run fail. Closing twice is allowed."""


class EmbeddingDevice(Device, Protocol):
    """Texts to vectors."""

    async def embed(self, call: Embed, /) -> Embedded:
        """One unit vector per text, in order."""


class ModelDevice(Device, Protocol):
    """A language model."""

    async def render(self, call: Render, /) -> Rendered:
        """The ids of each turn as the chat template lays them out, or with counts `bound` an upper bound of them."""

    async def generate(self, call: Generate, emit: Emit, /) -> Finished:
        """Emits what it generates as it comes; the texts of all items joined are `Finished.text`.

        Every id that is made is emitted once. `Finished.prompt_tokens` is what this call read (`prompt` and
        `generated`), `generated_tokens` what this call made, without those in `generated`. Raises OverWindow with the
        numbers when prompt and max_tokens exceed the window. Cancelled, it frees its slot at once.
        """

    async def embed(self, call: Embed, /) -> Embedded:
        """As EmbeddingDevice.embed, or NoSyscall."""

    async def tokenize(self, call: Tokenize, /) -> Tokenized:
        """The ids of a plain text, or NoSyscall: a driver without a tokenizer invents none."""

    async def detokenize(self, call: Detokenize, /) -> Detokenized:
        """The text of ids, or NoSyscall; `detokenize(tokenize(text))` is the text. Raises Invalid for what is no id."""

    async def score(self, call: Score, /) -> Scored:
        """The log-probabilities that decoding would draw from at temperature 1, or NoSyscall.

        What greedy decoding makes of a prompt is greedy in every token. Raises OverWindow with the numbers when a
        prompt and its continuation exceed the window, Invalid for an empty continuation or no prompt. Cancelled, it
        ends before the next step.
        """


class StoreDevice(Device, Protocol):
    """Vectors by id, in collections. What was added is on disk, or is found missing by `ids` after a crash."""

    async def add(self, call: StoreAdd, /) -> None:
        """Inserts or replaces; makes the collection."""

    async def query(self, call: StoreQuery, /) -> StoreHits:
        """The nearest by cosine, best first; nothing for a collection that does not exist."""

    async def delete(self, call: StoreDelete, /) -> None:
        """Deletes what is there of `ids`, or the collection."""

    async def ids(self, call: StoreIds, /) -> Ids:
        """All ids of the collection, sorted."""

    async def size(self, call: StoreSize, /) -> Sized:
        """The bytes of the collection, or of what there is of `ids`: the ids, and four for each number of a vector."""


class Driver(Protocol):
    """What a driver is called, which kinds of device it can open, and how."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> Sequence[Kind]: ...

    async def open(self, call: Open, /) -> Device:
        """Makes a device. Raises Invalid or NotFound with one line that says what is wrong with the origin."""


@final
class Claim(Struct, frozen=True, kw_only=True):
    """One request that waits for a seat on `device`, as a scheduling policy sees it: no text of anybody's.

    `tokens` is what it takes at most, `served` the tokens of service that its `program` (a pid: the parent and all that
    it spawned are one) was given there since it came, weighted by its nice value; `overtaken` the tokens of service
    that came later and went before; `waited_s` seconds on the kernel's clock."""

    number: int
    device: str
    program: int
    pid: int
    principal: str
    nice: int
    tokens: int
    served: float
    overtaken: int
    waited_s: float


class SchedulingPolicy(Protocol):
    """Who goes next: `scheduling = "NAME"` in kernos.toml.

    It cannot break the bound on overtaking: who was overtaken by too much goes first, whatever it says."""

    @property
    def name(self) -> str: ...

    def choose(self, waiting: Sequence[Claim], /) -> int:
        """The number of the claim that gets the seat that is free. Never waits, and is done within
        `policy_s` ([bounds]); one that raises, takes longer or names no claim is disabled until the next boot."""


@final
class Exchange(Struct, frozen=True, kw_only=True):
    """What leaves a window together: a turn, or a call of tools with its results, or a page that was recalled.

    Lower numbers are older; `unwanted` are those that their program does not need any more (context.advise)."""

    number: int
    tokens: int
    turns: int
    recalled: bool
    unwanted: bool


class EvictionPolicy(Protocol):
    """What leaves a window that is full: `eviction = "NAME"` in kernos.toml.

    It sees only what may be evicted: never a pin, a system turn, the user's last turn or the newest exchange. How much
    is evicted is not its to say."""

    @property
    def name(self) -> str: ...

    def order(self, exchanges: Sequence[Exchange], /) -> Sequence[int]:
        """Numbers of exchanges, the first to go first; those left out go after them, the oldest first. Watched as
        `choose` is."""


@final
class Source(Struct, frozen=True):
    """Where a model is to be had: which driver opens what, and with which options of the driver's own."""

    driver: str
    origin: str
    options: Mapping[str, str] = {}


class ModelSource(Protocol):
    """Origins that begin with `SCHEME:`, as in `kernos model add NAME SCHEME:WHAT`."""

    @property
    def scheme(self) -> str: ...

    def find(self, origin: str, /) -> Source:
        """What to open for an origin. Raises a SyscallError or ValueError with one line for one that is wrong. Watched
        as `choose` is: what takes time (a download) is the driver's to do."""


class Hooks:
    """What an extension may implement; each hook is called once, when it is loaded."""

    @hookspec(firstresult=True)
    def kernos_driver(self) -> Driver:  # type: ignore[empty-body]
        """Names the driver that this module or package brings."""

    @hookspec
    def kernos_scheduling_policies(self) -> Sequence[SchedulingPolicy]:  # type: ignore[empty-body]
        """Policies for the queue of a device; one instance serves all of them."""

    @hookspec
    def kernos_eviction_policies(self) -> Sequence[EvictionPolicy]:  # type: ignore[empty-body]
        """Policies for full windows; one instance serves all of them."""

    @hookspec
    def kernos_model_sources(self) -> Sequence[ModelSource]:  # type: ignore[empty-body]
        """Schemes of origins of models."""

    @hookspec
    def kernos_commands(self) -> "Sequence[click.Command]":  # type: ignore[empty-body]
        """Commands of the command line and the console: `kernos NAME`. None stands in for one that ships."""
