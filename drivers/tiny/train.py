"""The training: `python -m drivers.tiny.train --out DIR --seed 0` makes the model that ships, in minutes."""

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from tokenizers import Tokenizer
from torch import distributed, multiprocessing
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from drivers.tiny import guide, marks, overlap, tokenizer, wire
from drivers.tiny.corpus import Corpus
from drivers.tiny.course import ROUNDS, Round
from drivers.tiny.network import Network
from drivers.tiny.optimizer import Muon
from drivers.tiny.rows import Packer, Rows

MATRIX_RATE, VECTOR_RATE, READER_RATE = 0.012, 0.003, 0.005
SAVE_EVERY_STEPS = 50
REPORT_EVERY_S = 15.0
SAMPLE_EPISODES = 6000
FIRST_LENDER = 900
HANDS_APART = 1000
Meet = Callable[[list[torch.nn.Parameter]], None]
"""Brings the weights of several hands together, now and then."""


def config(vocabulary: int, *, start: int, end: int, pad: int) -> LlamaConfig:
    """The shape of the model."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=64,
        attention_bias=True,
        max_position_embeddings=tokenizer.CONTEXT_TOKENS_MAX,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        rms_norm_eps=1e-5,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=pad,
        attn_implementation="sdpa",
    )


class Losses(NamedTuple):
    """The weighted loss of what is said, the guide's, the readers'."""

    said: torch.Tensor
    guided: torch.Tensor
    known: torch.Tensor


def losses_of(network: Network, batch: Rows, guided: frozenset[str], readers: guide.Readers) -> Losses:
    """All three for a batch; logits are made only where something is said."""
    looks = tuple(each for each in batch.looks if each.duty in guided)
    cast = network.weights()
    seen = network(batch.ids, cast)
    weights = batch.weights[:, 1:]
    where = weights > 0
    logits = functional.linear(seen.hidden[:, :-1][where], cast["model.embed_tokens.weight"]).float()
    losses = functional.cross_entropy(logits, batch.ids[:, 1:][where], reduction="none")
    said = (losses * weights[where]).sum() / weights.sum()
    return Losses(said, guide.loss_of(seen, looks), readers.loss_of(seen, batch.known))


def train(out: Path, *, seed: int, number: int = 1, start: Path | None = None, steps: int | None = None) -> None:
    """Makes the tokenizer and the model and writes both to `out`; prints a line every few seconds.

    `start` is the folder of the model that had the round before, `number` says which round this one is. `steps`
    shortens it. A round of several hands is gone through by as many processes of one thread each.
    """
    chosen = ROUNDS[number - 1]
    chosen = msgspec.structs.replace(chosen, steps=steps or chosen.steps)
    if chosen.hands == 1:
        _train(out, seed=seed, chosen=chosen, start=start)
        return
    with tempfile.TemporaryDirectory() as meeting:
        multiprocessing.spawn(_hand, (out, seed, number, chosen.steps, start, f"{meeting}/hands"), nprocs=chosen.hands)


def _hand(hand: int, out: Path, seed: int, number: int, steps: int, start: Path | None, meeting: str) -> None:
    """One of several that train together; the first of them writes."""
    torch.set_num_threads(1)
    chosen = msgspec.structs.replace(ROUNDS[number - 1], steps=steps)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=hand, world_size=chosen.hands)
    said = contextlib.nullcontext() if hand == 0 else contextlib.redirect_stdout(io.StringIO())
    with tempfile.TemporaryDirectory() as aside, said:
        place = out if hand == 0 else Path(aside)
        _train(place, seed=seed + HANDS_APART * hand, chosen=chosen, start=start, meet=meet)
    distributed.destroy_process_group()


def meet(parameters: list[torch.nn.Parameter]) -> None:
    """Everybody goes on from the mean over all hands."""
    with torch.no_grad():
        for parameter in parameters:
            distributed.all_reduce(parameter.data)
            parameter.div_(distributed.get_world_size())


def _alone(parameters: list[torch.nn.Parameter]) -> None:
    """Nobody is met."""


def _train(out: Path, *, seed: int, chosen: Round, start: Path | None, meet: Meet = _alone) -> None:
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    forbidden = overlap.cores()
    cutter = _cutter(seed, forbidden, start)
    model = _fresh(cutter) if start is None else LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    if chosen.marked and cutter.token_to_id(marks.NAMES[0]) is None:
        tokenizer.grow(cutter)
        _grow(model, cutter.get_vocab_size())
    tokenizer.save(cutter, out)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {chosen.steps} steps", flush=True)
    _fit(model, Packer(Corpus(seed, forbidden=forbidden), cutter, marked=chosen.marked), chosen, out, meet)
    _save(model, out)
    print(json.dumps({"steps": chosen.steps, "out": str(out)}))


def _cutter(seed: int, forbidden: frozenset[str], start: Path | None) -> Tokenizer:
    if start is not None:
        return Tokenizer.from_file(str(start / "tokenizer.json"))
    sample = Corpus(seed + 1, forbidden=forbidden)
    drawn = (turn for _ in range(SAMPLE_EPISODES) for turn in sample.episode().turns)
    return tokenizer.build(wire.render(turn, marked=False) for turn in drawn)


def _grow(model: LlamaForCausalLM, vocabulary: int) -> None:
    """Room for more tokens. Each begins as some word's embedding, all moved one way: what the first layer makes of a
    vector that it never met hardly differs from what it makes of the next."""
    known = model.config.vocab_size
    model.resize_token_embeddings(vocabulary, mean_resizing=False)
    weight = model.model.embed_tokens.weight
    with torch.no_grad():
        moved = torch.randn(weight.shape[1]) * weight[:known].std()
        weight[known:] = weight[FIRST_LENDER : FIRST_LENDER + vocabulary - known] + moved


def _save(model: LlamaForCausalLM, out: Path) -> None:
    """In bfloat16: half the bytes, and what training computed with."""
    copy = LlamaForCausalLM(model.config).to(torch.bfloat16)
    copy.load_state_dict(model.state_dict())
    copy.generation_config = model.generation_config
    copy.save_pretrained(out)


def _fresh(cutter: Tokenizer) -> LlamaForCausalLM:
    ids = {name: cutter.token_to_id(name) or 0 for name in (wire.START, wire.END, wire.PAD)}
    model = LlamaForCausalLM(
        config(cutter.get_vocab_size(), start=ids[wire.START], end=ids[wire.END], pad=ids[wire.PAD])
    )
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=ids[wire.END], pad_token_id=ids[wire.PAD], bos_token_id=ids[wire.START]
    )
    return model


def _fit(model: LlamaForCausalLM, packer: Packer, chosen: Round, out: Path, meet: Meet) -> None:
    readers = guide.Readers(model.config.hidden_size)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon, groups = Muon(matrices), [{"params": others}, {"params": readers.parameters(), "lr": READER_RATE}]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
    network, progress = Network(model, tuple(guide.HEADS.values())), Progress(chosen.steps)
    for step in range(chosen.steps):
        share = step / chosen.steps
        stage = next(s for s in chosen.course if share < s.until_share)
        batch = stage.batch(packer, step)
        lost = losses_of(network, batch, chosen.guided, readers)
        (lost.said + stage.guide_weight * lost.guided + chosen.known_weight * lost.known).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(MATRIX_RATE * chosen.rate_at(share))
        adam.param_groups[0]["lr"] = VECTOR_RATE * chosen.rate_at(share)
        adam.step()
        adam.zero_grad()
        if step % chosen.meets_every == chosen.meets_every - 1 or step == chosen.steps - 1:
            meet([*model.parameters(), *readers.parameters()])
        if step % SAVE_EVERY_STEPS == SAVE_EVERY_STEPS - 1:
            _save(model, out)
        progress.took(step, tokens=batch.ids.numel(), losses=lost)


class Progress:
    """A line now and then: the losses (smoothed), the speed, what is left."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._began = self._told = time.monotonic()
        self._tokens, self._losses = 0, (0.0, 0.0, 0.0)

    def took(self, step: int, *, tokens: int, losses: Losses) -> None:
        """A step is done."""
        keep = 0.95 if step else 0.0
        self._tokens += tokens
        said, guided, known = (
            keep * before + (1 - keep) * each.item() for before, each in zip(self._losses, losses, strict=True)
        )
        self._losses = said, guided, known
        now = time.monotonic()
        if now - self._told < REPORT_EVERY_S and step < self._steps - 1:
            return
        self._told, spent = now, now - self._began
        left_s = spent / (step + 1) * (self._steps - step - 1)
        print(
            f"step {step + 1}/{self._steps} loss {said:.4f} guide {guided:.4f} marks {known:.4f} "
            f"{self._tokens / spent:,.0f} tok/s {left_s:.0f} s left",
            flush=True,
        )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m drivers.tiny.train", description="train kernos-tiny")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "kernos-tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="fewer, to try something")
    parser.add_argument("--round", type=int, choices=range(1, len(ROUNDS) + 1), default=1)
    parser.add_argument("--start", type=Path, help="the model of the round before; from the second on")
    chosen = parser.parse_args()
    if (chosen.start is None) != (chosen.round == 1):
        parser.error("--start DIR goes with every --round but the first: train the round before")
    overlap.refuse()
    train(chosen.out, seed=chosen.seed, number=chosen.round, start=chosen.start, steps=chosen.steps)


if __name__ == "__main__":
    main()
