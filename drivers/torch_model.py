"""The torch driver: any Hugging Face causal model, from a local folder or the hub, decoded for many callers at once.

Options, all text: `dtype` (auto, float32, bfloat16, float16), `device` (auto, cpu, cuda), `slots`, `threads` (of
torch; also OMP_NUM_THREADS), `template` (`plain`, or a jinja file, for a tokenizer without a chat template),
`cache_mb` (keys and values kept of sequences that have ended). torch is imported when a device is opened, in a
thread.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any, final

import msgspec
import trio
from msgspec import Struct

from drivers.causal.folder import check_weights, checksum, find_folder, read_config, tokenizer_digest
from drivers.causal.generation import Batch, Generation, Outcome, Voice
from drivers.causal.imports import quick_imports
from drivers.causal.layout import Layout
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
    Score,
    Scored,
    Tokenize,
    Tokenized,
    Tokens,
)
from syscalls.errors import Invalid, NoSyscall, NotFound
from syscalls.hooks import Device, Emit, hookimpl

MIB = 1 << 20


@final
class TorchOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a torch model."""

    dtype: str = "auto"
    device: str = "auto"
    slots: int = 16
    threads: int = 0
    template: str = ""
    cache_mb: int = 256

    def __post_init__(self) -> None:
        if self.slots < 1 or self.threads < 0 or self.cache_mb < 0:
            raise ValueError("slots is at least 1, threads and cache_mb at least 0")

    @property
    def torch_threads(self) -> int:
        return self.threads or int(os.environ.get("OMP_NUM_THREADS") or 1)


@final
class Loaded(Struct, frozen=True):
    """A model in memory."""

    model: Any
    tokenizer: Any
    layout: Layout
    ends: frozenset[int]
    opened: Opened


def load(origin: str, options: TorchOptions) -> Loaded:
    """Reads and checks everything; what a thread does while HELLO is long out."""
    folder, local = find_folder(origin)
    config = read_config(folder)
    try:
        with quick_imports():
            from drivers.causal import weights
            from drivers.causal.trial import check_decoding
    except ImportError as missing:
        raise NotFound(f"models from a folder need torch ({missing}): pip install 'kernos[torch]'") from None

    weights.use_threads(options.torch_threads)
    weights.check_architecture(folder, config)
    check_weights(folder)
    tokenizer = weights.load_tokenizer(folder, options.template)
    model = weights.load_model(folder, dtype=options.dtype, accelerator=options.device)
    layout = Layout(tokenizer)
    check_decoding(model, folder)
    opened = _describe(folder, model, tokenizer, layout, options, local=local)
    return Loaded(model, tokenizer, layout, weights.end_ids(model, tokenizer), opened)


def _describe(
    folder: Path, model: Any, tokenizer: Any, layout: Layout, options: TorchOptions, *, local: bool
) -> Opened:
    window = getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 0
    return Opened(
        device=0,
        can=("generate", "stream", "seed", "stop", "tools", "resume-exact", "tokenize", "score"),
        window_tokens=int(window),
        slots=options.slots,
        append_exact=layout.append_exact,
        template=tokenizer_digest(folder, str(tokenizer.chat_template)),
        checksum=checksum(folder),
        parameters=sum(p.numel() for p in model.parameters()),
        detail={
            "architecture": type(model).__name__,
            "dtype": str(model.dtype).removeprefix("torch."),
            "accelerator": str(model.device),
            "folder": str(folder),
            "origin": "folder" if local else "hub",
            "template": options.template or "its own",
            "turns": "alone" if layout.independent else "in order",
        },
    )


@final
class TorchModel:
    """One model and its engine."""

    def __init__(self, loaded: Loaded, options: TorchOptions) -> None:
        from drivers.causal.engine import Engine

        self.opened = loaded.opened
        self._loaded = loaded
        self._voice = Voice(loaded.tokenizer)
        self._token = trio.lowlevel.current_trio_token()
        self._rendering = trio.Lock()
        self.engine = Engine(
            loaded.model,
            slots=options.slots,
            threads=options.torch_threads,
            kept_bytes_max=options.cache_mb * MIB,
            deliver=self._hand_over,
        )
        self.engine.start()

    async def render(self, call: Render, /) -> Rendered:
        async with self._rendering:
            return self._loaded.layout.render(call.turns, call.tools)

    async def generate(self, call: Generate, emit: Emit, /) -> Finished:
        check_window(call, window_tokens=self.opened.window_tokens)
        self._check_ids(call.prompt, call.generated)
        ended = trio.Event()
        outcome: list[Finished | Exception] = []

        def sink(came: Outcome) -> None:
            if isinstance(came, Tokens):
                emit(came)
            else:
                outcome.append(came)
                ended.set()

        generation = Generation(call, self._voice, self._loaded.ends, sink)
        self.engine.submit(generation)
        try:
            await ended.wait()
        finally:
            if not ended.is_set():
                self.engine.cancel(generation)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    async def tokenize(self, call: Tokenize, /) -> Tokenized:
        async with self._rendering:
            return Tokenized(ids=self._loaded.layout.ids(call.text))

    async def detokenize(self, call: Detokenize, /) -> Detokenized:
        await trio.lowlevel.checkpoint()
        self._check_ids(call.ids)
        return Detokenized(text=self._voice.whole(call.ids))

    async def score(self, call: Score, /) -> Scored:
        check_score(call, window_tokens=self.opened.window_tokens)
        self._check_ids(call.prompt, *call.continuations)
        from drivers.causal.scoring import Judged, Scoring

        judged: dict[int, Judged | Exception] = {}
        news = trio.Event()

        def sink(at: int, came: Judged | Exception) -> None:
            judged[at] = came
            if len(judged) == len(call.continuations) or isinstance(came, Exception):
                news.set()

        jobs = [Scoring(call.prompt, ids, self._voice, partial(sink, at)) for at, ids in enumerate(call.continuations)]
        try:
            for job in jobs:
                self.engine.submit(job)
            await news.wait()
        finally:
            for job in jobs:
                self.engine.cancel(job)
        scores: list[Judged] = []
        for _, came in sorted(judged.items()):
            if isinstance(came, Exception):
                raise came
            scores.append(came)
        return Scored(
            scores=tuple(each.tokens for each in scores),
            prompt_tokens=read_by(call),
            cached_tokens=sum(each.cached_tokens for each in scores),
        )

    def _check_ids(self, *many: tuple[int, ...]) -> None:
        rows = self._loaded.model.get_input_embeddings().num_embeddings
        for ids in many:
            if ids and not (min(ids) >= 0 and max(ids) < rows):
                raise Invalid(f"token ids are 0 to {rows - 1} here: render the turns with this model")

    def _hand_over(self, batch: Batch) -> None:
        """Called on the engine's thread: everything that came since the last time in one go."""
        try:
            self._token.run_sync_soon(partial(_distribute, batch))
        except trio.RunFinishedError:
            pass

    async def embed(self, call: Embed, /) -> Embedded:
        raise NoSyscall("the torch driver does not embed: open an embedding driver (minilm)")

    async def close(self) -> None:
        await trio.to_thread.run_sync(self.engine.close)


def _distribute(batch: Batch) -> None:
    for job, came in batch:
        if not job.cancelled:
            job.sink(came)


@final
class TorchDriver:
    """Opens models."""

    name = "torch"
    kinds: tuple[Kind, ...] = ("model",)

    async def open(self, call: Open, /) -> Device:
        try:
            options = msgspec.convert(call.options, TorchOptions, strict=False)
        except msgspec.ValidationError as bad:
            raise Invalid(f"torch: {bad}") from None
        loaded = await trio.to_thread.run_sync(load, call.origin, options, abandon_on_cancel=True)
        return TorchModel(loaded, options)


@hookimpl
def kernos_driver() -> TorchDriver:
    """Causal language models on torch."""
    return TorchDriver()
