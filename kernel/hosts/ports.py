"""What the rest of the kernel sees of devices: narrow protocols that the registry implements and tests can fake with
real ones."""

from collections.abc import Callable
from typing import Protocol

from syscalls.driver import Embedded, Finished, Opened, Rendered, Sampling, Score, Scored, StoreHits, Tokens
from syscalls.turns import ToolSpec, Turn


class ModelPort(Protocol):
    """One opened model. A host that dies is restarted and the call issued again, unseen by the caller, until
    `deadline_s`.

    Raises the driver's SyscallError; TryAgain (EAGAIN) when no host came back in time.
    """

    @property
    def name(self) -> str: ...
    @property
    def opened(self) -> Opened: ...
    async def render(
        self, turns: tuple[Turn, ...], tools: tuple[ToolSpec, ...], *, ids_max: int | None = None
    ) -> Rendered: ...
    async def generate(
        self,
        sampling: Sampling,
        *,
        prompt: tuple[int, ...],
        turns: tuple[Turn, ...],
        tools: tuple[ToolSpec, ...],
        sink: Callable[[Tokens], None],
    ) -> Finished: ...
    async def score(self, asked: Score) -> Scored: ...
    async def tokenize(self, text: str) -> tuple[int, ...]: ...
    async def detokenize(self, ids: tuple[int, ...]) -> str: ...


class EmbeddingPort(Protocol):
    """The machine's embedding model. `dimensions` is known once it has been opened."""

    @property
    def name(self) -> str: ...
    async def embed(self, texts: tuple[str, ...]) -> Embedded: ...


class StorePort(Protocol):
    """The machine's vector store: follows the truth, and may come back empty after a crash (see `ids`)."""

    async def add(self, collection: str, ids: tuple[str, ...], vectors: bytes) -> None: ...
    async def query(
        self, collection: str, vector: bytes, k: int, *, only: tuple[str, ...] | None = None
    ) -> StoreHits: ...
    async def delete(self, collection: str, ids: tuple[str, ...] | None) -> None: ...
    async def ids(self, collection: str) -> tuple[str, ...]: ...
    async def size(self, collection: str, ids: tuple[str, ...] | None) -> int: ...


class Devices(Protocol):
    """Finds ports. `model(None)` is the default model; raises NotFound (ENOENT) that lists what there is. `opened` is
    `model` once it is loaded: only then does the port know its window."""

    def model(self, name: str | None) -> ModelPort: ...
    async def opened(self, name: str | None) -> ModelPort: ...
    def embedding(self) -> EmbeddingPort: ...
    def store(self) -> StorePort: ...
    def on_store_reset(self, callback: Callable[[], None]) -> None: ...
