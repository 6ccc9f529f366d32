"""The whole driver ABI in Python: one hook that names a driver, and the protocol of a device of each kind.

A driver is a module (or any object) with one hook implementation:

    from drivers.hooks import hookimpl

    @hookimpl
    def kernos_driver():
        return MyDriver()

It is found by an entry point of the group `kernos.drivers`, or named `module:attribute`. Importing it must be cheap:
what is heavy (torch, chromadb) is imported when a device is opened. The host (`drivers.host`) does the rest: frames,
cancellation, errno, the ledger. `pluggy.HookimplMarker("kernos")` is the same marker, so that a driver of another
package need not import this module.

Errors: raise a `SyscallError` for what the caller must know; ValueError becomes EINVAL, FileNotFoundError ENOENT, all
else EIO with the exception's name (`drivers.faults`). What a device cannot do it refuses with NoSyscall (ENOSYS), or
has no method for, and does not name in `Opened.can`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import pluggy

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
    StoreAdd,
    StoreDelete,
    StoreHits,
    StoreIds,
    StoreQuery,
    Tokenize,
    Tokenized,
    Tokens,
)

PROJECT = "kernos"
GROUP = "kernos.drivers"

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


class Driver(Protocol):
    """What a driver is called, which kinds of device it can open, and how."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> Sequence[Kind]: ...

    async def open(self, call: Open, /) -> Device:
        """Makes a device. Raises Invalid or NotFound with one line that says what is wrong with the origin."""


class Hooks:
    """What a driver plugin implements."""

    @hookspec(firstresult=True)
    def kernos_driver(self) -> Driver:  # type: ignore[empty-body]
        """Names the driver that this module or package brings."""
