"""Continuous batching in one thread: new sequences are read in pieces between the steps of those that run, and leave
when they end. A sequence that is only scored leaves when it is read.

Rows 0..n of the cache are the sequences that decode; row n is the one that is being read. What all of
them made is handed to the loop together. The thread sleeps when there is nothing to do.

Why not transformers' own continuous batching: several times slower on small models, no cancellation between steps,
and its idle thread keeps a core busy. Why not `generate`: it cannot take in a sequence while others run.
"""

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch

from drivers.causal.cache import Decode, Prefill, RowCache, indices
from drivers.causal.generation import Batch, Generation, merged
from drivers.causal.masks import Masks
from drivers.causal.prefixes import REUSE_MIN, Prefixes, common
from drivers.causal.sampling import choose
from drivers.causal.scoring import Scoring
from syscalls.errors import BrokenPipe, IOFailed, TryAgain

PREFILL_TOKENS_MAX = 256
"""Read between two steps: what a new sequence may delay the others by."""

IDLE_BYTES_MAX = 128 << 20
"""What an idle engine keeps of its rows; more is given back."""

HANDOVER_S = 0.015
"""At most so often the loop is handed what was made, unless something ended: each time wakes this process's other
thread, the kernel and the reader, which on few cores costs more than the step itself. Nobody reads faster than
that."""

Deliver = Callable[[Batch], None]


@final
class Engine:
    """Runs generations and scorings on one model. `submit`, `cancel` and `close` may be called from any thread;
    `deliver` is called from the engine's."""

    def __init__(self, model: Any, *, slots: int, threads: int, kept_bytes_max: int, deliver: Deliver) -> None:
        self._model = model
        self._slots = slots
        self._threads = threads
        self._deliver = deliver
        self._cache = RowCache()
        self._masks = Masks(model)
        self._prefixes = Prefixes(kept_bytes_max)
        self._accelerator = model.device
        self._decoding: list[Generation] = []
        self._reading: Generation | Scoring | None = None
        self._queue: deque[Generation | Scoring] = deque()
        self._out: Batch = []
        self._inbox: deque[Generation | Scoring] = deque()
        self._work = threading.Condition()
        self._closed = False
        self.steps = 0
        self._urgent = False
        self._handed_over_at = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, generation: Generation | Scoring) -> None:
        """Takes it in as soon as a row is free. Raises BrokenPipe once the engine is closed."""
        with self._work:
            if self._closed:
                raise BrokenPipe("the model was closed")
            self._inbox.append(generation)
            self._work.notify()

    def cancel(self, generation: Generation | Scoring) -> None:
        """Its row is free before the next step; nothing more is delivered for it."""
        with self._work:
            generation.cancelled = True
            self._work.notify()

    def close(self) -> None:
        """Ends the thread after its step; what still runs fails with EPIPE."""
        with self._work:
            self._closed = True
            self._work.notify()
        if self._thread.ident is not None:
            self._thread.join()

    # The thread.

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        with torch.inference_mode():
            while self._wait():
                self._drop_cancelled()
                self._step()
                self._hand_over()
        left = [*self._decoding, *([self._reading] if self._reading else []), *self._queue]
        self._deliver([(generation, BrokenPipe("the model was closed")) for generation in left])

    def _wait(self) -> bool:
        """Sleeps until there is work; False once closed."""
        with self._work:
            while not (self._closed or self._inbox or self._busy):
                if self._cache.bytes > IDLE_BYTES_MAX:
                    self._cache.drop()
                self._work.wait()
            self._queue.extend(self._inbox)
            self._inbox.clear()
            return not self._closed

    def _hand_over(self) -> None:
        """Delivers what was made, merged, unless it is too soon and nothing has ended."""
        now = time.monotonic()
        if not self._out or (not self._urgent and self._busy and now - self._handed_over_at < HANDOVER_S):
            return
        out, self._out = self._out, []
        self._urgent, self._handed_over_at = False, now
        self._deliver(merged(out))

    @property
    def _busy(self) -> bool:
        return bool(self._decoding or self._reading or self._queue)

    def _step(self) -> None:
        self.steps += 1
        try:
            self._decode()
        except Exception as failed:
            self._fail(tuple(self._decoding), failed)
            self._read_anew()
        budget = PREFILL_TOKENS_MAX
        while budget > 0 and self._next_to_read():
            assert self._reading is not None
            try:
                budget -= self._read(self._reading, budget)
            except Exception as failed:
                self._fail((self._reading,), failed)

    # Taking in.

    def _next_to_read(self) -> bool:
        """Whether a sequence is being read, or could be taken in."""
        while self._reading is None and self._queue and len(self._decoding) < self._slots:
            generation = self._queue.popleft()
            if generation.cancelled:
                continue
            if isinstance(generation, Generation) and generation.ended:
                self._end(generation, generation.finished())
                continue
            self._reading = generation
            self._cache.reserve(len(self._decoding) + 1, len(generation.ids) + 1)
            self._begin_from_what_is_known(generation)
        return self._reading is not None

    def _begin_from_what_is_known(self, generation: Generation | Scoring) -> None:
        prompt = np.asarray(generation.ids, dtype=np.int64)
        most = generation.reusable
        row = len(self._decoding)
        shared, snapshot = self._prefixes.longest(prompt)
        running = [(common(np.asarray(g.ids[: g.fed], dtype=np.int64), prompt), n)
                   for n, g in enumerate(self._decoding)]  # fmt: skip
        beside, other = max(running, default=(0, 0))
        count = min(max(shared, beside), most)
        if count < REUSE_MIN:
            return
        if beside >= shared:
            self._cache.move(other, row, count)
        else:
            assert snapshot is not None
            self._cache.restore(row, snapshot, count)
        generation.fed = generation.cached_tokens = count

    def _read(self, job: Generation | Scoring, budget: int) -> int:
        """Reads up to `budget` tokens of it; after the last it has its first id, or its scores. Returns how many were
        read."""
        start = job.fed
        count = min(budget, len(job.ids) - start)
        scored = job.wanted(start, count) if isinstance(job, Scoring) else 1
        logits = self._forward(
            indices(job.ids[start : start + count], self._accelerator)[None],
            torch.arange(start, start + count, device=self._accelerator)[None],
            Prefill(row=len(self._decoding), start=start, count=count),
            last=scored,
        )
        job.fed += count
        if isinstance(job, Scoring):
            job.take(start + count - scored, logits[0, -scored:])
            if job.fed == len(job.ids):
                self._judge(job)
        elif job.fed == len(job.ids):
            self._reading = None
            self._decoding.append(job)
            self._accept(job, choose(logits[0, -1], job.sampling, position=job.made))
            self._leave()
        return count

    def _judge(self, job: Scoring) -> None:
        """It is read: the next of the same prompt begins from what is kept of it."""
        if job.cached_tokens < job.reusable:
            self._keep(job.ids[: job.reusable + 1], len(self._decoding))
        self._reading = None
        self._end(job, job.finished())

    # Decoding.

    def _decode(self) -> None:
        running = self._decoding
        if not running:
            return
        longest = max(g.fed for g in running)
        self._cache.reserve(len(running), longest + 1)
        lengths = indices([g.fed for g in running], self._accelerator)
        span = Decode(lengths=lengths, index=torch.arange(len(running), device=self._accelerator), longest=longest)
        last = indices([g.ids[-1] for g in running], self._accelerator)[:, None]
        logits = self._forward(last, lengths[:, None], span)[:, -1]
        best = logits.argmax(-1).tolist()
        for row, generation in enumerate(running):
            generation.fed += 1
            sampling = generation.sampling
            token = best[row]
            if sampling.temperature > 0.0:
                token = choose(logits[row], sampling, position=generation.made)
            self._accept(generation, token)
        self._leave()

    def _forward(self, ids: Any, positions: Any, span: Prefill | Decode, *, last: int = 1) -> Any:
        """The logits of at least the `last` tokens."""
        self._cache.span = span
        return self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=self._masks.of(span),
            past_key_values=self._cache,
            use_cache=True,
            **self._masks.only_last(last),
        ).logits

    def _accept(self, generation: Generation, token: int) -> None:
        self._out.append((generation, generation.accept(token)))
        if generation.ended:
            self._end(generation, generation.finished())

    def _end(self, job: Generation | Scoring, outcome: Any) -> None:
        self._out.append((job, outcome))
        self._urgent = True

    # Leaving.

    def _leave(self) -> None:
        """Frees the rows of those that have ended or were cancelled; keeps their keys and values for later prompts."""
        for row in reversed(range(len(self._decoding))):
            generation = self._decoding[row]
            if generation.ended or generation.cancelled:
                self._keep(generation.ids[: generation.fed], row)
                self._free(row)

    def _free(self, row: int) -> None:
        """The last row that decodes takes the free place, and the one being read follows it."""
        last = len(self._decoding) - 1
        moved = self._decoding.pop()
        if row != last:
            self._cache.move(last, row, moved.fed)
            self._decoding[row] = moved
        if self._reading is not None:
            self._cache.move(last + 1, last, self._reading.fed)

    def _keep(self, ids: list[int], row: int) -> None:
        """Keeps the keys and values of the tokens that `row` begins with."""
        if self._prefixes.wants(len(ids), self._masks.bytes_per_token):
            self._prefixes.add(ids, self._cache.snapshot(row, len(ids)))

    def _drop_cancelled(self) -> None:
        if self._reading is not None and self._reading.cancelled:
            if self._reading.fed:
                self._keep(self._reading.ids[: self._reading.fed], len(self._decoding))
            self._reading = None
        self._leave()

    def _fail(self, generations: tuple[Generation | Scoring, ...], failed: Exception) -> None:
        """They end with the reason; whoever else runs goes on."""
        traceback.print_exception(failed, file=sys.stderr)
        said = str(failed).strip().splitlines()
        line = f"{type(failed).__name__}: {said[0] if said else ''}"
        short = isinstance(failed, MemoryError | torch.OutOfMemoryError) or "allocate memory" in line
        told = TryAgain(f"not enough memory for this generation: {line}") if short else IOFailed(line)
        for generation in generations:
            self._end(generation, told)
        self._decoding = [g for g in self._decoding if g not in generations]
        if self._reading in generations:
            self._reading = None

    def _read_anew(self) -> None:
        """After a step that failed half way: nothing in the cache is trusted any more."""
        if self._reading is not None:
            self._reading.fed = self._reading.cached_tokens = 0
            self._queue.appendleft(self._reading)
            self._reading = None
        self._cache.drop()
