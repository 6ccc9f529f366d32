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

from drivers.tiny import circuit, overlap, tokenizer, wire
from drivers.tiny.corpus import Corpus
from drivers.tiny.optimizer import Muon
from drivers.tiny.rows import Packer, Rows


class Stage(msgspec.Struct, frozen=True):
    """A part of the course: until that share of the steps, so many rows of so many tokens, passages up to so long."""

    until_share: float
    rows: int
    tokens: int
    passage_chars: int
    scrambled_share: float
    spoiled_share: float = 0.3
    strange: bool = True
    cut_share: float = 0.0

    def direct(self, corpus: Corpus) -> None:
        """Sets the corpus for this part."""
        corpus.longest_chars, corpus.scrambled_share = self.passage_chars, self.scrambled_share
        corpus.spoiled_share, corpus.strange, corpus.cut_share = self.spoiled_share, self.strange, self.cut_share


# One request a row at first: which tool to call is not to be learned among six requests at once.
COURSE = (
    Stage(0.25, 18, 128, 100, 0.1),
    Stage(0.5, 9, 256, 300, 0.25),
    Stage(0.95, 5, 512, 700, 0.3),
    Stage(1.0, 1, 3072, 700, 0.3),
)
# The second time round: what is left to learn is where a value or a sentence begins, so calls by the dozen.
AGAIN = (
    Stage(0.45, 16, 160, 200, 0.25, 0.1, strange=False, cut_share=0.6),
    Stage(0.7, 9, 256, 320, 0.25, 0.1, strange=False, cut_share=0.4),
    Stage(0.95, 5, 512, 700, 0.25, 0.1, strange=False, cut_share=0.2),
    Stage(1.0, 1, 3072, 700, 0.25, 0.1, strange=False),
)
STEPS = 1700
MATRIX_RATE, VECTOR_RATE = 0.012, 0.003
WARM_SHARE, COOL_SHARE = 0.02, 0.5
SAVE_EVERY_STEPS = 150
REPORT_EVERY_S = 5.0
SAMPLE_EPISODES = 6000


def config(vocabulary: int, *, start: int, end: int, pad: int) -> LlamaConfig:
    """The shape of the model."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_key_value_heads=3,
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


def loss_of(model: LlamaForCausalLM, batch: Rows) -> torch.Tensor:
    """The weighted loss; logits are made only where something is to be said."""
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1]
    weights = batch.weights[:, 1:]
    where = weights > 0
    losses = functional.cross_entropy(model.lm_head(hidden[where]), batch.ids[:, 1:][where], reduction="none")
    return (losses * weights[where]).sum() / weights.sum()


def rate_at(share: float) -> float:
    """Up, level, then down to nothing in a straight line."""
    return min(1.0, share / WARM_SHARE, (1 - share) / COOL_SHARE)


def train(out: Path, *, seed: int, steps: int, start: Path | None = None) -> None:
    """Makes the tokenizer and the model and writes both to `out`; prints a line every few seconds.

    With `start`, the folder of a model of ours, that one is trained further, on other episodes, half as fast.
    """
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    forbidden = overlap.phrasings()
    cutter = _cutter(seed, forbidden, start)
    tokenizer.save(cutter, out)
    model = _fresh(cutter) if start is None else LlamaForCausalLM.from_pretrained(start)
    packer = Packer(Corpus(seed, forbidden=forbidden), cutter)
    _fit(
        model,
        packer,
        steps=steps,
        out=out,
        course=COURSE if start is None else AGAIN,
        pace=1.0 if start is None else 0.5,
    )
    model.save_pretrained(out)
    print(json.dumps({"parameters": sum(p.numel() for p in model.parameters()), "out": str(out)}))


def _cutter(seed: int, forbidden: frozenset[str], start: Path | None) -> Tokenizer:
    if start is not None:
        return Tokenizer.from_file(str(start / "tokenizer.json"))
    sample = Corpus(seed + 1, forbidden=forbidden)
    return tokenizer.build(wire.render(turn) for _ in range(SAMPLE_EPISODES) for turn in sample.episode().turns)


def _fresh(cutter: Tokenizer) -> LlamaForCausalLM:
    ids = {name: cutter.token_to_id(name) or 0 for name in (wire.START, wire.END, wire.PAD)}
    model = LlamaForCausalLM(
        config(cutter.get_vocab_size(), start=ids[wire.START], end=ids[wire.END], pad=ids[wire.PAD])
    )
    circuit.install(model)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=ids[wire.END], pad_token_id=ids[wire.PAD], bos_token_id=ids[wire.START]
    )
    return model


def _fit(
    model: LlamaForCausalLM, packer: Packer, *, steps: int, out: Path, course: tuple[Stage, ...], pace: float
) -> None:
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon, adam = Muon(matrices), torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {steps} steps", flush=True)
    began = said = time.monotonic()
    tokens, smooth = 0, 0.0
    for step in range(steps):
        share = step / steps
        stage = next(s for s in course if share < s.until_share)
        stage.direct(packer.corpus)
        loss = loss_of(model, packer.batch(rows=stage.rows, tokens=stage.tokens))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(pace * MATRIX_RATE * rate_at(share))
        for group in adam.param_groups:
            group["lr"] = pace * VECTOR_RATE * rate_at(share)
        adam.step()
        adam.zero_grad()
        if step % SAVE_EVERY_STEPS == SAVE_EVERY_STEPS - 1:
            model.save_pretrained(out)
        tokens += stage.rows * stage.tokens
        smooth = loss.item() if step == 0 else 0.95 * smooth + 0.05 * loss.item()
        now = time.monotonic()
        if now - said > REPORT_EVERY_S or step == steps - 1:
            said, spent = now, now - began
            left_s = spent / (step + 1) * (steps - step - 1)
            print(
                f"step {step + 1}/{steps} loss {smooth:.4f} {tokens / spent:,.0f} tok/s {left_s:.0f} s left", flush=True
            )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m drivers.tiny.train", description="train kernos-tiny")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "kernos-tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--start", type=Path, help="a model of ours to train further")
    chosen = parser.parse_args()
    overlap.refuse()
    train(chosen.out, seed=chosen.seed, steps=chosen.steps, start=chosen.start)


if __name__ == "__main__":
    main()
