"""What `kernos driver new` writes: a driver of each kind that keeps to the ABI as it is, with a test that says so."""

from pathlib import Path
from typing import Final, Literal

from userland.skeletons.begun import begin

Kind = Literal["model", "embedding", "store"]

ADDS: Final = """\
# A driver runs outside the sandbox, in a host of its own: whoever installs it says so, with --trust.
[tool.kernos.drivers]
{name} = "{module}:kernos_driver"

# The same for those who install it with pip beside kernos.
[project.entry-points."kernos.drivers"]
{name} = "{module}"
"""

TEST: Final = '''\
"""The driver keeps to the ABI: every check of `kernos driver test`."""

from pathlib import Path

import pytest
import trio

from drivers.conformance.checks import run_checks
from drivers.conformance.rig import Subject
from drivers.conformance.suite import SUITE

HERE = Path(__file__).parent.parent


def test_it_keeps_to_the_abi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))  # the host is a process of its own
    subject = Subject(driver="{module}:kernos_driver", kind="{kind}", origin=str(tmp_path))
    verdicts = trio.run(run_checks, subject, SUITE["{kind}"])
    assert [each for each in verdicts if each.outcome == "breached"] == []
'''

STORE: Final = '''\
"""A store of vectors in memory. Make it keep them: what `add` has acknowledged is there when the host comes back."""

import math
import struct

from kernos.hooks import Device, hookimpl
from syscalls.driver import (
    Ids,
    Open,
    Opened,
    Sized,
    StoreAdd,
    StoreDelete,
    StoreHits,
    StoreIds,
    StoreQuery,
    StoreSize,
)
from syscalls.errors import Invalid


class Store:
    """Unit vectors by id, in collections. Add "durable" to `can` once they outlive the host."""

    opened = Opened(device=0, can=("add", "query", "delete", "ids", "only"))

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, tuple[float, ...]]] = {{}}

    async def add(self, call: StoreAdd, /) -> None:
        vectors = split(call.vectors, len(call.ids))
        rows = self.collections.get(call.collection, {{}})
        for vector in vectors:
            check(vector, rows)
        self.collections[call.collection] = {{**rows, **dict(zip(call.ids, vectors, strict=True))}}

    async def query(self, call: StoreQuery, /) -> StoreHits:
        rows = self.collections.get(call.collection, {{}})
        (wanted,) = split(call.vector, 1)
        check(wanted, rows)
        found = rows if call.only is None else {{each: rows[each] for each in call.only if each in rows}}
        scores = {{each: sum(map(float.__mul__, wanted, row)) for each, row in found.items()}}
        best = sorted(scores, key=lambda each: (-scores[each], each))[: call.k]
        return StoreHits(ids=tuple(best), scores=tuple(scores[each] for each in best))

    async def delete(self, call: StoreDelete, /) -> None:
        if call.ids is None:
            self.collections.pop(call.collection, None)
        for each in call.ids or ():
            self.collections.get(call.collection, {{}}).pop(each, None)

    async def ids(self, call: StoreIds, /) -> Ids:
        return Ids(ids=tuple(sorted(self.collections.get(call.collection, {{}}))))

    async def size(self, call: StoreSize, /) -> Sized:
        rows = self.collections.get(call.collection, {{}})
        ids = set(rows if call.ids is None else call.ids)
        return Sized(bytes=sum(len(each.encode()) + 4 * len(rows[each]) for each in ids if each in rows))

    async def close(self) -> None:
        self.collections.clear()


def split(data: bytes, count: int) -> list[tuple[float, ...]]:
    """Float32 vectors, each of length 1. Raises Invalid for bytes that are not `count` of them."""
    if not count or not data or len(data) % (4 * count):
        raise Invalid(f"{{len(data)}} bytes are not {{count}} vectors of float32")
    vectors = list(struct.iter_unpack(f"<{{len(data) // (4 * count)}}f", data))
    return [tuple(number / (math.hypot(*vector) or 1.0) for number in vector) for vector in vectors]


def check(vector: tuple[float, ...], rows: dict[str, tuple[float, ...]]) -> None:
    """Raises Invalid for a vector of another length than those of its collection."""
    for row in rows.values():
        if len(row) != len(vector):
            raise Invalid(f"the collection holds vectors of {{len(row)}} numbers, not {{len(vector)}}")
        return


class Driver:
    """Opens stores. The origin is where it may keep them: a folder of its own."""

    name, kinds = "{name}", ("store",)

    async def open(self, call: Open, /) -> Device:
        if call.options:
            raise Invalid(f"{name} takes no options, not {{', '.join(call.options)}}")
        return Store()


@hookimpl
def kernos_driver() -> Driver:
    """The driver of this package."""
    return Driver()
'''

EMBEDDING: Final = '''\
"""Texts to vectors: by hashed words, until you load a model in `open`."""

import hashlib
import math
import struct

from kernos.hooks import Device, hookimpl
from syscalls.driver import Embed, Embedded, Open, Opened
from syscalls.errors import Invalid

DIMENSIONS = 64


class Words:
    """A number for each word, by its hash."""

    opened = Opened(device=0, can=("embed",), dimensions=DIMENSIONS, checksum="words-1")

    async def embed(self, call: Embed, /) -> Embedded:
        tokens = sum(len(text.split()) + 1 for text in call.texts)
        return Embedded(dimensions=DIMENSIONS, vectors=b"".join(map(vector_of, call.texts)), tokens=tokens)

    async def close(self) -> None:
        """Nothing is held."""


def vector_of(text: str) -> bytes:
    """A unit vector of little-endian float32."""
    numbers = [0.0] * DIMENSIONS
    for word in ["", *text.lower().split()]:
        digest = hashlib.sha256(word.encode()).digest()
        numbers[digest[0] % DIMENSIONS] += 1.0 if digest[1] & 1 else -1.0
    length = math.hypot(*numbers) or 1.0
    if not any(numbers):
        numbers[0] = 1.0
    return struct.pack(f"<{{DIMENSIONS}}f", *(number / length for number in numbers))


class Driver:
    """Opens embeddings; what the origin means is yours to say."""

    name, kinds = "{name}", ("embedding",)

    async def open(self, call: Open, /) -> Device:
        if call.options:
            raise Invalid(f"{name} takes no options, not {{', '.join(call.options)}}")
        return Words()


@hookimpl
def kernos_driver() -> Driver:
    """The driver of this package."""
    return Driver()
'''

MODEL: Final = '''\
"""A model that says what it was told, a byte a token, until you put one behind it."""

import hashlib

import anyio
import anyio.lowlevel

from kernos.hooks import Device, Emit, hookimpl
from syscalls.driver import Finished, Generate, Open, Opened, Render, Rendered, Tokens
from syscalls.errors import Invalid, OverWindow

WINDOW, SLOTS = 4096, 4
OPEN = {{"system": 256, "user": 257, "assistant": 258, "tool": 259}}
END = 260


class Parrot:
    """One token is one byte; each turn is opened by the number of its role and closed by END."""

    def __init__(self, checksum: str) -> None:
        self.free = anyio.Semaphore(SLOTS)
        self.opened = Opened(
            device=0, can=("generate", "stream"), window_tokens=WINDOW, slots=SLOTS, checksum=checksum, template="1"
        )

    async def render(self, call: Render, /) -> Rendered:
        segments = tuple((OPEN[turn.role], *turn.text.encode(), END) for turn in call.turns)
        return Rendered(segments=segments, tail=(OPEN["assistant"],))

    async def generate(self, call: Generate, emit: Emit, /) -> Finished:
        read, most = len(call.prompt), call.sampling.max_tokens
        if most < 1 or not call.prompt or not all(0 <= token <= END for token in call.prompt):
            raise Invalid("ask for at least one token, with a prompt of tokens that there are")
        if read + most > WINDOW:
            raise OverWindow(f"{{read}} prompt tokens and max_tokens {{most}} are more than the window of {{WINDOW}}")
        async with self.free:
            said = [token for token in call.prompt if token < 256][:most]
            text = ""
            for token in said:
                await anyio.lowlevel.checkpoint()  # here a cancellation comes in, and frees the slot
                piece = chr(token) if token < 128 else "?"
                text += piece
                emit(Tokens(ids=(token,), text=piece))
        finish = "length" if len(said) == most else "stop"
        return Finished(finish=finish, text=text, prompt_tokens=read, generated_tokens=len(said))

    async def close(self) -> None:
        """Nothing is held."""


class Driver:
    """Opens models; what the origin means is yours to say."""

    name, kinds = "{name}", ("model",)

    async def open(self, call: Open, /) -> Device:
        if call.options:
            raise Invalid(f"{name} takes no options, not {{', '.join(call.options)}}")
        return Parrot(hashlib.sha256(call.origin.encode()).hexdigest())


@hookimpl
def kernos_driver() -> Driver:
    """The driver of this package."""
    return Driver()
'''

_WHAT: Final = {
    "model": (MODEL, "a model"),
    "embedding": (EMBEDDING, "texts to vectors"),
    "store": (STORE, "a store of vectors"),
}


def driver_package(folder: Path, kind: Kind) -> list[Path]:
    """Writes a new driver package into `folder`; the files. Raises what `begin` raises."""
    code, what = _WHAT[kind]
    texts = {"{module}.py": code, "tests/test_conformance.py": TEST}
    return begin(folder, ADDS, texts, kind=kind, what=f"A driver for kernos: {what}")
