"""The training: `python -m drivers.tiny.train --out DIR --seed 0` makes the model that ships, in minutes."""

import argparse
import json
import time
from pathlib import Path

import msgspec
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from drivers.tiny import guide, overlap, tokenizer, wire
from drivers.tiny.corpus import SHARES, Corpus
from drivers.tiny.network import Network
from drivers.tiny.optimizer import Muon
from drivers.tiny.rows import Packer, Rows


class Stage(msgspec.Struct, frozen=True):
    """A part of the course: until that share of the steps, so many rows of so many tokens, passages up to so long."""

    until_share: float
    rows: int
    tokens: int
    passage_chars: int
    scrambled_share: float
    spoiled_share: float
    guide_weight: float
    answers: int = SHARES["answer"]

    def direct(self, corpus: Corpus) -> None:
        """Sets the corpus for this part."""
        corpus.shares["answer"] = self.answers
        corpus.longest_chars = self.passage_chars
        corpus.scrambled_share, corpus.spoiled_share = self.scrambled_share, self.spoiled_share


class Round(msgspec.Struct, frozen=True):
    """A course, how many steps it has, and the share of the full rate at which it begins and ends; when it cools."""

    course: tuple[Stage, ...]
    steps: int
    first_rate: float
    last_rate: float
    cools_at_share: float
    guided: frozenset[str]


# Short and clean at first, so that the guided heads find their places; then wide.
FIRST = Round(
    (
        Stage(0.16, 32, 128, 100, 0.0, 0.0, 1.0),
        Stage(0.4667, 32, 128, 160, 0.15, 0.1, 0.5),
        Stage(1.0, 16, 256, 420, 0.15, 0.1, 0.3),
    ),
    steps=2250,
    first_rate=1.0,
    last_rate=0.4167,
    cools_at_share=0.5333,
    guided=frozenset(guide.HEADS) - {guide.AGAIN},
)
# What is left after it is to find sentences in longer texts; rows as long as a window last.
SECOND = Round(
    (
        Stage(0.5, 16, 256, 420, 0.12, 0.1, 0.5, answers=42),
        Stage(0.96, 8, 512, 700, 0.12, 0.1, 0.3, answers=36),
        Stage(1.0, 1, 3072, 700, 0.12, 0.1, 0.3),
    ),
    steps=1150,
    first_rate=0.4167,
    last_rate=0.0,
    cools_at_share=0.0,
    guided=frozenset(guide.HEADS),
)
MATRIX_RATE, VECTOR_RATE = 0.012, 0.003
WARM_SHARE = 0.0267
SAVE_EVERY_STEPS = 250
REPORT_EVERY_S = 15.0
SAMPLE_EPISODES = 6000


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


def losses_of(network: Network, batch: Rows, guided: frozenset[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted loss of what is said (logits are made only where something is), and the guide's."""
    looks = tuple(each for each in batch.looks if each.duty in guided)
    cast = network.weights()
    seen = network(batch.ids, cast)
    weights = batch.weights[:, 1:]
    where = weights > 0
    logits = functional.linear(seen.hidden[:, :-1][where], cast["model.embed_tokens.weight"]).float()
    losses = functional.cross_entropy(logits, batch.ids[:, 1:][where], reduction="none")
    return (losses * weights[where]).sum() / weights.sum(), guide.loss_of(seen, looks)


def rate_at(share: float, of: Round) -> float:
    """Up, level, then down in a straight line."""
    cooled = max(0.0, share - of.cools_at_share) / (1 - of.cools_at_share)
    return min(of.first_rate + (of.last_rate - of.first_rate) * cooled, of.first_rate * share / WARM_SHARE)


def train(out: Path, *, seed: int, start: Path | None = None, steps: int | None = None) -> None:
    """Makes the tokenizer and the model and writes both to `out`; prints a line every few seconds.

    With `start`, the folder of a model that had the first round, that one is given the second. `steps` shortens it.
    """
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    forbidden = overlap.cores()
    cutter = _cutter(seed, forbidden, start)
    tokenizer.save(cutter, out)
    model = _fresh(cutter) if start is None else LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    chosen = FIRST if start is None else SECOND
    chosen = msgspec.structs.replace(chosen, steps=steps or chosen.steps)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {chosen.steps} steps", flush=True)
    _fit(model, Packer(Corpus(seed, forbidden=forbidden), cutter), chosen, out)
    _save(model, out)
    print(json.dumps({"steps": chosen.steps, "out": str(out)}))


def _cutter(seed: int, forbidden: frozenset[str], start: Path | None) -> Tokenizer:
    if start is not None:
        return Tokenizer.from_file(str(start / "tokenizer.json"))
    sample = Corpus(seed + 1, forbidden=forbidden)
    return tokenizer.build(wire.render(turn) for _ in range(SAMPLE_EPISODES) for turn in sample.episode().turns)


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


def _fit(model: LlamaForCausalLM, packer: Packer, chosen: Round, out: Path) -> None:
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon, adam = Muon(matrices), torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0)
    network, progress = Network(model, tuple(guide.HEADS.values())), Progress(chosen.steps)
    for step in range(chosen.steps):
        share = step / chosen.steps
        stage = next(s for s in chosen.course if share < s.until_share)
        stage.direct(packer.corpus)
        said, guided = losses_of(network, packer.batch(rows=stage.rows, tokens=stage.tokens), chosen.guided)
        (said + stage.guide_weight * guided).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(MATRIX_RATE * rate_at(share, chosen))
        for group in adam.param_groups:
            group["lr"] = VECTOR_RATE * rate_at(share, chosen)
        adam.step()
        adam.zero_grad()
        if step % SAVE_EVERY_STEPS == SAVE_EVERY_STEPS - 1:
            _save(model, out)
        progress.took(step, tokens=stage.rows * stage.tokens, said=said.item(), guided=guided.item())


class Progress:
    """A line now and then: the losses (smoothed), the speed, what is left."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._began = self._told = time.monotonic()
        self._tokens, self._said, self._guided = 0, 0.0, 0.0

    def took(self, step: int, *, tokens: int, said: float, guided: float) -> None:
        """A step is done."""
        keep = 0.95 if step else 0.0
        self._tokens += tokens
        self._said = keep * self._said + (1 - keep) * said
        self._guided = keep * self._guided + (1 - keep) * guided
        now = time.monotonic()
        if now - self._told < REPORT_EVERY_S and step < self._steps - 1:
            return
        self._told, spent = now, now - self._began
        left_s = spent / (step + 1) * (self._steps - step - 1)
        print(
            f"step {step + 1}/{self._steps} loss {self._said:.4f} guide {self._guided:.4f} "
            f"{self._tokens / spent:,.0f} tok/s {left_s:.0f} s left",
            flush=True,
        )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m drivers.tiny.train", description="train kernos-tiny")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "kernos-tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="fewer, to try something")
    parser.add_argument("--start", type=Path, help="the model of the first round, to be given the second")
    chosen = parser.parse_args()
    overlap.refuse()
    train(chosen.out, seed=chosen.seed, start=chosen.start, steps=chosen.steps)


if __name__ == "__main__":
    main()
