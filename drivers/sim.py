"""The simulated devices: a model and an embedding that are pure functions of what they are given, on any clock.

One token is one byte. The model works in virtual steps of `step_tokens`, and emits one item per step; a step ends
`step_tokens / tokens_per_second` after the one before by the loop's clock (trio's MockClock in tests, real time in a
host), or takes one checkpoint where no rate is given. It resumes exactly. Options, all text: `window`, `slots`,
`step_tokens`, `tokens_per_second`, `prefill_tokens_per_second`, `seed`, `script` (see drivers/simulated/script.py).
"""

import codecs
import hashlib
from typing import final

import anyio
import anyio.lowlevel
import msgspec
from msgspec import Struct

from drivers.certain import Certain
from drivers.simulated.scores import scores_of
from drivers.simulated.script import Reply, choose, ids_of, parse_script
from drivers.simulated.tokens import END, TAIL, TEMPLATE, answer_begun, head_of, segment_of, text_of
from drivers.simulated.vectors import DIMENSIONS, vector_of
from drivers.window import check_score, check_window, read_by
from syscalls.driver import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Finished,
    Generate,
    Kind,
    Open,
    Opened,
    Render,
    Rendered,
    Sampling,
    Score,
    Scored,
    Tokenize,
    Tokenized,
    Tokens,
)
from syscalls.errors import Invalid, NoSyscall
from syscalls.hooks import Device, Emit, hookimpl


@final
class SimOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a simulated model. A rate of 0 means as fast as the loop runs."""

    window: int = 8192
    slots: int = 16
    step_tokens: int = 8
    tokens_per_second: float = 0.0
    prefill_tokens_per_second: float = 0.0
    seed: int = 0
    script: str = "[]"

    def __post_init__(self) -> None:
        if min(self.window, self.slots, self.step_tokens) < 1:
            raise ValueError("window, slots and step_tokens are at least 1")


@final
class SimModel:
    """A model without weights."""

    def __init__(self, options: SimOptions, *, checksum: str) -> None:
        self._options = options
        self._script = parse_script(options.script)
        self._free = anyio.Semaphore(options.slots)
        self.opened = Opened(
            device=0,
            can=("generate", "stream", "seed", "stop", "tools", "resume-exact", "tokenize", "score"),
            window_tokens=options.window,
            slots=options.slots,
            template=TEMPLATE,
            checksum=checksum,
            detail={"architecture": "simulated"},
        )

    async def render(self, call: Render, /) -> Rendered:
        await anyio.lowlevel.checkpoint()
        return Rendered(head=head_of(call.tools), segments=tuple(segment_of(turn) for turn in call.turns), tail=TAIL)

    async def generate(self, call: Generate, emit: Emit, /) -> Finished:
        check_window(call, window_tokens=self._options.window)
        async with self._free:
            reply = choose(self._script, call.prompt, call.sampling, seed=self._options.seed)
            await self._prefill(call, reply)
            return await self._decode(call, ids_of(reply)[: call.sampling.max_tokens], emit)

    async def _prefill(self, call: Generate, reply: Reply) -> None:
        await self._read(len(call.prompt) + len(call.generated), delay_s=reply.delay_s)

    async def _read(self, tokens: int, *, delay_s: float = 0.0) -> None:
        rate = self._options.prefill_tokens_per_second
        await anyio.sleep(delay_s + (tokens / rate if rate else 0.0))

    async def _decode(self, call: Generate, ids: tuple[int, ...], emit: Emit) -> Finished:
        said = _Saying(call)
        for token in call.generated:
            said.take(token)
        made = 0
        due = anyio.current_time()
        while not said.ended and len(call.generated) + made < len(ids):
            due = await self._step(due)
            start = len(call.generated) + made
            fresh, text = said.take_until_end(ids[start : start + self._options.step_tokens])
            made += len(fresh)
            done = said.ended or len(call.generated) + made >= len(ids)
            emit(Tokens(ids=fresh, text=text + (said.rest() if done else "")))
        return said.finished(read=len(call.prompt) + len(call.generated), made=made, emit=emit)

    async def _step(self, due: float) -> float:
        """Waits for the end of a step that begins at `due`; when that is. A step that ended late does not make the
        next one late: the rate is kept."""
        rate = self._options.tokens_per_second
        if rate:
            due += self._options.step_tokens / rate
            await anyio.sleep_until(due)
        else:
            await anyio.lowlevel.checkpoint()
        return due

    async def tokenize(self, call: Tokenize, /) -> Tokenized:
        await anyio.lowlevel.checkpoint()
        return Tokenized(ids=tuple(call.text.encode()))

    async def detokenize(self, call: Detokenize, /) -> Detokenized:
        await anyio.lowlevel.checkpoint()
        return Detokenized(text=text_of(call.ids))

    async def score(self, call: Score, /) -> Scored:
        check_score(call, window_tokens=self._options.window)
        async with self._free:
            asked, begun = answer_begun(call.prompt)
            greedy = Sampling(max_tokens=self._options.window)
            expected = ids_of(choose(self._script, asked, greedy, seed=self._options.seed))[begun:]
            await self._read(read_by(call))
            scores = tuple(scores_of(each, expected) for each in call.continuations)
            return Scored(scores=scores, prompt_tokens=read_by(call))

    async def embed(self, call: Embed, /) -> Embedded:
        raise NoSyscall("the simulated model does not embed: open sim as a device of kind embedding")

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()


@final
class _Saying:
    """One answer so far: bytes to text, text to what is certain, and how it ended."""

    def __init__(self, call: Generate) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._certain = Certain(call.sampling.stop)
        self._flushed = False
        self._at_end = False

    @property
    def ended(self) -> bool:
        return self._at_end or (self._certain.stopped and not self._flushed)

    def take(self, token: int) -> str:
        if token == END:
            self._at_end = True
            return ""
        return self._certain.feed(self._bytes.decode(bytes((token & 0xFF,))))

    def take_until_end(self, ids: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
        """The ids up to where it ended, and the text that is certain by then."""
        text = ""
        for count, token in enumerate(ids, start=1):
            text += self.take(token)
            if self.ended:
                return ids[:count], text
        return ids, text

    def rest(self) -> str:
        """What was held back, now that no more comes."""
        if self._flushed or self._certain.stopped:
            return ""
        self._flushed = True
        return self._certain.feed(self._bytes.decode(b"", final=True)) + self._certain.finish()

    def finished(self, *, read: int, made: int, emit: Emit) -> Finished:
        stopped = self._certain.stopped and not self._flushed
        rest = self.rest()
        if rest:
            emit(Tokens(text=rest))
        calls = tuple(self._certain.calls)
        ending = "stop" if self._at_end else "stop_string" if stopped else "length"
        return Finished(
            finish="calls" if calls and ending != "length" else ending,  # type: ignore[arg-type]
            text=self._certain.text,
            calls=calls,
            prompt_tokens=read,
            generated_tokens=made,
        )


@final
class SimEmbedding:
    """An embedding by hashed words."""

    def __init__(self) -> None:
        self.opened = Opened(device=0, can=("embed",), dimensions=DIMENSIONS, checksum="sim-1", template=TEMPLATE)

    async def embed(self, call: Embed, /) -> Embedded:
        await anyio.lowlevel.checkpoint()
        vectors = b"".join(vector_of(text) for text in call.texts)
        return Embedded(dimensions=DIMENSIONS, vectors=vectors, tokens=sum(len(t.encode()) for t in call.texts))

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()


@final
class SimDriver:
    """Opens simulated devices; the origin is only a name."""

    name = "sim"
    kinds: tuple[Kind, ...] = ("model", "embedding")

    async def open(self, call: Open, /) -> Device:
        await anyio.lowlevel.checkpoint()
        if call.kind == "embedding":
            if call.options:
                raise Invalid(f"sim: an embedding takes no options, not {', '.join(sorted(call.options))}")
            return SimEmbedding()
        try:
            options = msgspec.convert(call.options, SimOptions, strict=False)
        except msgspec.ValidationError as bad:
            raise Invalid(f"sim: {bad}") from None
        told = msgspec.json.encode([call.origin, call.options], order="deterministic")
        return SimModel(options, checksum=hashlib.sha256(told).hexdigest())


@hookimpl
def kernos_driver() -> SimDriver:
    """The simulated devices."""
    return SimDriver()
