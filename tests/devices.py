"""Real devices small enough for unit tests: a model that counts bytes, an embedding of words, a store in a dict."""

import hashlib
import struct
from array import array
from collections.abc import Callable
from typing import Any, cast, final

import trio

from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.config import Bounds, Config
from kernel.derivation import Capabilities
from kernel.extension import Extensions
from kernel.hosts.ports import EmbeddingPort, ModelPort, StorePort
from kernel.ledger import Ledger
from kernel.machine import Machine
from kernel.mm.contexts import Contexts
from kernel.mm.eviction import Evictor
from kernel.mm.recall import similarity, words
from kernel.process import Process
from kernel.scheduler import Scheduler
from kernel.seal import Seals
from kernel.trap import Trap
from kernel.truth import Truth
from kernel.watch.trace import Trace
from syscalls.driver import Embedded, Finished, Opened, Rendered, Sampling, StoreHits, Tokens
from syscalls.errors import NotFound, OverWindow, SyscallError
from syscalls.resources import Resource
from syscalls.row import Row
from syscalls.table import BY_NAME
from syscalls.turns import ToolSpec, Turn, canonical, system

DIMENSIONS = 64
Script = Callable[[str], str]


@final
class ByteModel:
    """One token a byte: head and tail of 2, every turn its text and 4. Answers what `script` makes of the last turn,
    a token a letter, `step_s` apart. Keeps its own ledger; refuses what is over the window, as hosts do."""

    def __init__(
        self,
        name: str = "bytes@1",
        *,
        window: int = 1000,
        slots: int = 4,
        exact: bool = True,
        script: Script = lambda text: "ok",
        step_s: float = 0.0,
        hidden: int = 0,
    ) -> None:
        self._name = name
        self.opened = Opened(device=1, window_tokens=window, slots=slots, counts="exact" if exact else "bound")
        self.script = script
        self.step_s = step_s
        self.hidden = hidden
        self.prompts: list[int] = []
        self.read = 0
        self.made = 0
        self.running = 0
        self.most_running = 0
        self.fails: list[SyscallError] = []

    @property
    def name(self) -> str:
        return self._name

    def count(self, turn: Turn) -> int:
        return 4 + len(turn.text.encode())

    async def render(
        self, turns: tuple[Turn, ...], tools: tuple[ToolSpec, ...], *, ids_max: int | None = None
    ) -> Rendered:
        await trio.lowlevel.checkpoint()
        head = 2 + sum(len(spec.name) for spec in tools)
        counts = (head, *(self.count(turn) for turn in turns), 2)
        if self.opened.counts == "bound" or (ids_max is not None and sum(counts) > ids_max):
            return Rendered(counts=counts)
        return Rendered(head=(1,) * head, segments=tuple((7,) * n for n in counts[1:-1]), tail=(2, 2))

    async def generate(
        self,
        sampling: Sampling,
        *,
        prompt: tuple[int, ...],
        turns: tuple[Turn, ...],
        tools: tuple[ToolSpec, ...],
        sink: Callable[[Tokens], None],
    ) -> Finished:
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise self.fails.pop(0)
        if self.opened.counts == "exact":
            assert prompt and not turns
            size = len(prompt)
        else:
            assert turns and not prompt
            size = sum(map(self.count, turns)) + 4 + sum(len(spec.name) for spec in tools)
        if size + self.hidden + sampling.max_tokens > self.opened.window_tokens:
            raise OverWindow(f"{size + self.hidden} and {sampling.max_tokens} exceed {self.opened.window_tokens}")
        self.prompts.append(size)
        self.read += size
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._speak(sampling, size, turns, sink)
        finally:
            self.running -= 1

    async def _speak(
        self, sampling: Sampling, size: int, turns: tuple[Turn, ...], sink: Callable[[Tokens], None]
    ) -> Finished:
        text = self.script(turns[-1].text if turns else "")
        said = text[: sampling.max_tokens]
        for letter in said:
            await trio.sleep(self.step_s)
            self.made += 1
            sink(Tokens(ids=(ord(letter),), text=letter))
        return Finished(
            finish="stop" if len(said) == len(text) else "length",
            text=said,
            prompt_tokens=size,
            generated_tokens=len(said),
        )


@final
class WordEmbedding:
    """A unit vector from the words of a text: texts with words in common are near."""

    name = "words"

    def __init__(self) -> None:
        self.tokens = 0
        self.away: SyscallError | None = None

    async def embed(self, texts: tuple[str, ...]) -> Embedded:
        await trio.lowlevel.checkpoint()
        if self.away is not None:
            raise self.away
        tokens = sum(len(text.split()) for text in texts)
        self.tokens += tokens
        return Embedded(dimensions=DIMENSIONS, vectors=b"".join(map(_vector, texts)), tokens=tokens)


def _vector(text: str) -> bytes:
    numbers = [0.0] * DIMENSIONS
    for word in words(text):
        numbers[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % DIMENSIONS] += 1.0
    norm = sum(number * number for number in numbers) ** 0.5 or 1.0
    return struct.pack(f"<{DIMENSIONS}f", *(number / norm for number in numbers))


@final
class DictStore:
    """Vectors by collection and id; exact. `lose` empties it and tells, as a host that came back."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, bytes]] = {}
        self.away: SyscallError | None = None
        self.callbacks: list[Callable[[], None]] = []

    def lose(self) -> None:
        self.rows.clear()
        for callback in self.callbacks:
            callback()

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.away is not None:
            raise self.away

    async def add(self, collection: str, ids: tuple[str, ...], vectors: bytes) -> None:
        await self._answer()
        size = len(vectors) // len(ids)
        rows = self.rows.setdefault(collection, {})
        rows.update({each: vectors[at * size : (at + 1) * size] for at, each in enumerate(ids)})

    async def query(self, collection: str, vector: bytes, k: int, *, only: tuple[str, ...] | None = None) -> StoreHits:
        await self._answer()
        rows = self.rows.get(collection, {})
        scored = [(similarity(vector, rows[each]), each) for each in rows if only is None or each in only]
        best = sorted(scored, reverse=True)[:k]
        return StoreHits(ids=tuple(each for _, each in best), scores=tuple(score for score, _ in best))

    async def delete(self, collection: str, ids: tuple[str, ...] | None) -> None:
        await self._answer()
        if ids is None:
            self.rows.pop(collection, None)
        for each in ids or ():
            self.rows.get(collection, {}).pop(each, None)

    async def ids(self, collection: str) -> tuple[str, ...]:
        await self._answer()
        return tuple(self.rows.get(collection, {}))

    async def size(self, collection: str, ids: tuple[str, ...] | None) -> int:
        await self._answer()
        rows = self.rows.get(collection, {})
        return sum(len(each.encode()) + len(row) for each, row in rows.items() if ids is None or each in ids)


@final
class FewDevices:
    """A registry of the devices above; the first model is the default."""

    def __init__(self, *models: ByteModel) -> None:
        self.models = {model.name: model for model in models or (ByteModel(),)}
        self.words = WordEmbedding()
        self.dict = DictStore()

    def model(self, name: str | None) -> ModelPort:
        found = next(iter(self.models.values())) if name is None else self.models.get(name)
        if found is None:
            raise NotFound(f"no model {name}: there are {', '.join(self.models)}")
        return cast(ModelPort, found)

    async def opened(self, name: str | None) -> ModelPort:
        await trio.lowlevel.checkpoint()
        return self.model(name)

    def embedding(self) -> EmbeddingPort:
        return self.words

    def store(self) -> StorePort:
        return self.dict

    def on_store_reset(self, callback: Callable[[], None]) -> None:
        self.dict.callbacks.append(callback)


@final
class Bench:
    """A machine with nothing around it: accounts, scheduler, truth, contexts and the devices above."""

    def __init__(
        self,
        *models: ByteModel,
        bounds: Bounds | None = None,
        truth: Truth | None = None,
        seals: Seals | None = None,
        tokens_max: int | None = None,
        evictor: Evictor | None = None,
    ) -> None:
        self.config = Config(bounds=bounds or Bounds())
        self.devices = FewDevices(*models)
        self.clock = Clock()
        self.trace = Trace(self.clock, 1000)
        self.truth = truth or Truth.in_memory()
        self.accounts = Accounts(self.clock.now)
        self.ledger = Ledger(config=self.config, truth=self.truth, accounts=self.accounts, trace=self.trace)
        self.scheduler = Scheduler(self.clock, queue_max=self.config.bounds.queue_max)
        self.contexts = Contexts(
            bounds=self.config.bounds,
            clock=self.clock,
            trace=self.trace,
            truth=self.truth,
            seals=seals or Seals(None),
            devices=self.devices,
            accounts=self.accounts,
            ledger=self.ledger,
        )
        nothing = cast(Any, None)
        self.machine = Machine(
            config=self.config,
            clock=self.clock,
            trace=self.trace,
            truth=self.truth,
            accounts=self.accounts,
            ledger=self.ledger,
            scheduler=self.scheduler,
            processes=nothing,
            devices=cast(Any, self.devices),
            contexts=self.contexts,
            executor=nothing,
            pipes=nothing,
            topics=nothing,
            alarms=nothing,
            handles=nothing,
            requests=nothing,
            plugins=nothing,
            package_use=nothing,
            extensions=Extensions(),
            evictor=evictor or Evictor(),
            shelves=nothing,
        )
        self._pid = 0
        self.tokens_max = tokens_max

    def process(self, *, principal: str = "ann", nice: int = 0, tokens_max: int | None = None) -> Process:
        """A program of its own."""
        self._pid += 1
        limit = tokens_max if tokens_max is not None else self.tokens_max
        return a_process(self.accounts, pid=self._pid, principal=principal, nice=nice, tokens_max=limit)

    def trap(self, process: Process, name: str, items: list[Any] | None = None) -> Trap:
        """A call under way; what it streams goes to `items`."""
        row: Row = BY_NAME[name]
        emit = (items if items is not None else []).append
        return Trap(process=process, row=row, emit=emit, room=trio.lowlevel.checkpoint)


def a_process(
    accounts: Accounts,
    *,
    pid: int = 1,
    principal: str = "ann",
    nice: int = 0,
    tokens_max: int | None = None,
    parent: Process | None = None,
) -> Process:
    """A process record with an account of its own."""
    account = accounts.open(
        parent.account if parent else None,
        name=f"process {pid}",
        principal=principal,
        limits={} if tokens_max is None else {Resource.TOKENS: tokens_max},
    )
    return Process(
        pid=pid,
        parent=parent,
        principal=principal,
        kind="program",
        name=f"p{pid}",
        account=account,
        held=Capabilities(lambda: 0.0).none,
        nice=nice,
        model=None,
        started_s=0.0,
    )


def floats(data: bytes) -> list[float]:
    """The numbers of vectors."""
    return list(array("f", data))


def said(turns: tuple[Turn, ...]) -> bytes:
    """Canonical bytes, for comparing."""
    return canonical(turns)


SYSTEM = system("You are terse.")
