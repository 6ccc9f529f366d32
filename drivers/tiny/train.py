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
from drivers.tiny.corpus import Corpus
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

    def direct(self, corpus: Corpus) -> None:
        """Sets the corpus for this part."""
        corpus.longest_chars = self.passage_chars
        corpus.scrambled_share, corpus.spoiled_share = self.scrambled_share, self.spoiled_share


# Short and clean at first, so that the guided heads find their places; then wide; rows as long as a window last.
COURSE = (
    Stage(0.12, 32, 128, 100, 0.0, 0.0, 1.0),
    Stage(0.35, 32, 128, 160, 0.15, 0.1, 0.5),
    Stage(0.75, 16, 256, 420, 0.15, 0.1, 0.3),
    Stage(0.97, 8, 512, 700, 0.15, 0.1, 0.2),
    Stage(1.0, 1, 3072, 700, 0.15, 0.1, 0.2),
)
STEPS = 3000
MATRIX_RATE, VECTOR_RATE = 0.012, 0.003
WARM_SHARE, COOL_SHARE = 0.02, 0.6
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


def losses_of(network: Network, batch: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted loss of what is said (logits are made only where something is), and the guide's."""
    cast = network.weights()
    seen = network(batch.ids, cast)
    weights = batch.weights[:, 1:]
    where = weights > 0
    logits = functional.linear(seen.hidden[:, :-1][where], cast["model.embed_tokens.weight"]).float()
    losses = functional.cross_entropy(logits, batch.ids[:, 1:][where], reduction="none")
    return (losses * weights[where]).sum() / weights.sum(), guide.loss_of(seen, batch.looks)


def rate_at(share: float) -> float:
    """Up, level, then down to nothing in a straight line."""
    return min(1.0, share / WARM_SHARE, (1 - share) / COOL_SHARE)


def train(out: Path, *, seed: int, steps: int) -> None:
    """Makes the tokenizer and the model and writes both to `out`; prints a line every few seconds."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    forbidden = overlap.cores()
    sample = Corpus(seed + 1, forbidden=forbidden)
    cutter = tokenizer.build(wire.render(turn) for _ in range(SAMPLE_EPISODES) for turn in sample.episode().turns)
    tokenizer.save(cutter, out)
    model = _fresh(cutter)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {steps} steps", flush=True)
    _fit(model, Packer(Corpus(seed, forbidden=forbidden), cutter), steps=steps, out=out)
    _save(model, out)
    print(json.dumps({"steps": steps, "out": str(out)}))


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


def _fit(model: LlamaForCausalLM, packer: Packer, *, steps: int, out: Path) -> None:
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon, adam = Muon(matrices), torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0)
    network, progress = Network(model, tuple(guide.HEADS.values())), Progress(steps)
    for step in range(steps):
        share = step / steps
        stage = next(s for s in COURSE if share < s.until_share)
        stage.direct(packer.corpus)
        said, guided = losses_of(network, packer.batch(rows=stage.rows, tokens=stage.tokens))
        (said + stage.guide_weight * guided).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(MATRIX_RATE * rate_at(share))
        for group in adam.param_groups:
            group["lr"] = VECTOR_RATE * rate_at(share)
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
    parser.add_argument("--steps", type=int, default=STEPS)
    chosen = parser.parse_args()
    overlap.refuse()
    train(chosen.out, seed=chosen.seed, steps=chosen.steps)


if __name__ == "__main__":
    main()
