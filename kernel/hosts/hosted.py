"""The ports on hosts: models, embeddings and stores whose OS process may die under a call without the caller
knowing."""

from collections.abc import Callable
from functools import partial
from typing import final

import trio
from msgspec.structs import replace

from kernel.hosts.host import REISSUES_MAX, Host
from kernel.watch.trace import Trace
from syscalls import driver
from syscalls.driver import Embedded, Finished, Opened, Rendered, Sampling, Score, Scored, StoreHits, Tokens
from syscalls.errors import BrokenPipe, IOFailed, OutcomeUnknown, SyscallError
from syscalls.turns import ToolSpec, Turn


@final
class HostedModel:
    """A model in a host. A generation that the host's death cuts goes on from its last token where resume is exact."""

    def __init__(self, name: str, host: Host, *, trace: Trace) -> None:
        self._name = name
        self._host = host
        self._trace = trace

    @property
    def name(self) -> str:
        return self._name

    @property
    def opened(self) -> Opened:
        assert self._host.opened is not None, "await ready() first"
        return self._host.opened

    async def ready(self) -> Opened:
        """Waits until the model is loaded. Raises why it cannot be."""
        return await self._host.ready()

    async def render(
        self, turns: tuple[Turn, ...], tools: tuple[ToolSpec, ...], *, ids_max: int | None = None
    ) -> Rendered:
        rendered: Rendered = await self._host.call(
            driver.RENDER, lambda device: driver.Render(device=device, turns=turns, tools=tools, ids_max=ids_max)
        )
        return rendered

    async def generate(
        self,
        sampling: Sampling,
        *,
        prompt: tuple[int, ...],
        turns: tuple[Turn, ...],
        tools: tuple[ToolSpec, ...],
        sink: Callable[[Tokens], None],
    ) -> Finished:
        """See ModelPort. What a dead host had read of the prompt is read again: the kernel's to pay, see HostBooks."""
        with self._host.books.charging() as books:
            made: list[int] = []

            def keep(tokens: Tokens) -> None:
                made.extend(tokens.ids)
                books.generated += len(tokens.ids)
                sink(tokens)

            books.read += len(prompt)
            try:
                finished = await self._resumed(sampling, prompt, turns, tools, made, keep)
            except SyscallError:
                if not made:
                    books.read -= len(prompt)
                raise
            books.read += finished.prompt_tokens - len(prompt)
            books.generated += max(0, finished.generated_tokens - len(made))
            return finished

    async def _resumed(
        self,
        sampling: Sampling,
        prompt: tuple[int, ...],
        turns: tuple[Turn, ...],
        tools: tuple[ToolSpec, ...],
        made: list[int],
        keep: Callable[[Tokens], None],
    ) -> Finished:
        """A generation on as many hosts as it takes; its count is that of one host that did it all."""
        deaths, before = 0, 0
        while True:
            resumed = tuple(made)
            request = driver.Generate(
                device=0, sampling=sampling, prompt=prompt, generated=resumed, turns=turns, tools=tools
            )
            try:
                finished: Finished = await self._host.pour(driver.GENERATE, partial(_addressed, request), keep)
            except BrokenPipe:
                exact = "resume-exact" in self.opened.can
                if made and not exact:
                    raise OutcomeUnknown(f"the host of {self.name} died in mid-answer and cannot resume it") from None
                deaths = deaths + 1 if len(made) == before else 1
                before = len(made)
                if deaths >= REISSUES_MAX:
                    raise IOFailed(f"{deaths} hosts of {self.name} in a row died over this answer") from None
                self._trace.event("reissue", device=self.name, generated=len(made))
                continue
            return replace(
                finished,
                prompt_tokens=finished.prompt_tokens - len(resumed),
                generated_tokens=finished.generated_tokens + len(resumed),
            )

    async def score(self, asked: Score) -> Scored:
        with self._host.books.charging() as books:
            scored: Scored | None = None
            try:
                scored = await self._host.call(driver.SCORE, lambda device: replace(asked, device=device))
            except trio.Cancelled:
                books.read += _read_by(asked)
                raise
            books.read += scored.prompt_tokens
            return scored

    async def tokenize(self, text: str) -> tuple[int, ...]:
        found: driver.Tokenized = await self._host.call(
            driver.TOKENIZE, lambda device: driver.Tokenize(device=device, text=text)
        )
        return found.ids

    async def detokenize(self, ids: tuple[int, ...]) -> str:
        found: driver.Detokenized = await self._host.call(
            driver.DETOKENIZE, lambda device: driver.Detokenize(device=device, ids=ids)
        )
        return found.text


def _read_by(asked: Score) -> int:
    """What a score that was cancelled counts: all that was asked, of texts an upper bound."""
    ids = sum(len(asked.prompt) + len(each) for each in asked.continuations)
    return ids + sum(len((asked.prompt_text + text).encode()) for text in asked.texts)


def _addressed(request: driver.Generate, device: int) -> driver.Generate:
    return replace(request, device=device)


@final
class HostedEmbedding:
    """The embedding model in a host."""

    def __init__(self, name: str, host: Host) -> None:
        self._name = name
        self._host = host

    @property
    def name(self) -> str:
        return self._name

    async def embed(self, texts: tuple[str, ...]) -> Embedded:
        with self._host.books.charging() as books:
            embedded: Embedded = await self._host.call(
                driver.EMBED, lambda device: driver.Embed(device=device, texts=texts)
            )
            books.read += embedded.tokens
            return embedded


@final
class HostedStore:
    """The vector store in a host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def add(self, collection: str, ids: tuple[str, ...], vectors: bytes) -> None:
        await self._host.call(
            driver.ADD,
            lambda device: driver.StoreAdd(device=device, collection=collection, ids=ids, vectors=vectors),
        )

    async def query(self, collection: str, vector: bytes, k: int, *, only: tuple[str, ...] | None = None) -> StoreHits:
        hits: StoreHits = await self._host.call(
            driver.QUERY,
            lambda device: driver.StoreQuery(device=device, collection=collection, vector=vector, k=k, only=only),
        )
        return hits

    async def delete(self, collection: str, ids: tuple[str, ...] | None) -> None:
        await self._host.call(
            driver.DELETE, lambda device: driver.StoreDelete(device=device, collection=collection, ids=ids)
        )

    async def ids(self, collection: str) -> tuple[str, ...]:
        found: driver.Ids = await self._host.call(
            driver.IDS, lambda device: driver.StoreIds(device=device, collection=collection)
        )
        return found.ids

    async def size(self, collection: str, ids: tuple[str, ...] | None) -> int:
        found: driver.Sized = await self._host.call(
            driver.SIZE, lambda device: driver.StoreSize(device=device, collection=collection, ids=ids)
        )
        return found.bytes
