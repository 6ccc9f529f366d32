"""The evaluation in plain torch: `python -m drivers.tiny.evaluate DIR` plays the cases greedily and scores them.

What exact means stands in `score`. Three sets: unseen values in trained phrasings, the phrasings that training
left out (development), and the held-out file (look at it for the report of a finished model, not to tune).
A backend is any function from conversations to the texts of their next turns, so that the kernel can be one.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from drivers.tiny import cases, score
from drivers.tiny.wire import Turn

Complete = Callable[[Sequence[tuple[Turn, ...]]], list[str]]
NEW_TOKENS_MAX = 200


def torch_backend(folder: Path, *, batch: int = 16) -> Complete:
    """Greedy decoding by transformers, in batches of conversations of like length."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def complete(conversations: Sequence[tuple[Turn, ...]]) -> list[str]:
        prompts = [prompt_of(tokenizer, turns) for turns in conversations]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        said = [""] * len(prompts)
        for at in range(0, len(order), batch):
            group = order[at : at + batch]
            inputs = tokenizer([prompts[i] for i in group], return_tensors="pt", padding=True, add_special_tokens=False)
            inputs.pop("token_type_ids", None)
            with torch.inference_mode():
                out = model.generate(**inputs, max_new_tokens=NEW_TOKENS_MAX, do_sample=False)
            for i, row in zip(group, out[:, inputs["input_ids"].shape[1] :], strict=True):
                text = tokenizer.decode(row, skip_special_tokens=False)
                said[i] = text.split("<|im_end|>")[0]
        return said

    return complete


def prompt_of(tokenizer: AutoTokenizer, turns: tuple[Turn, ...]) -> str:
    """The conversation as the chat template writes it, the assistant's turn opened."""
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def play(chosen: Sequence[score.Case], complete: Complete) -> list[score.Verdict]:
    """Each case's two turns: the call, then, after the given result, the sentence (made even if the call was wrong)."""
    opened = [(*case.before, Turn("user", case.request)) for case in chosen]
    calls = complete(opened)
    right = [score.expected_call(case) for case in chosen]
    closed = [
        (*turns, Turn("assistant", said if score.call_exact(case, said) else call), Turn("tool", case.result))
        for turns, said, call, case in zip(opened, calls, right, chosen, strict=True)
    ]
    finals = complete(closed)
    return [
        score.Verdict(case, score.call_exact(case, call), score.final_exact(case, final), (call, final))
        for case, call, final in zip(chosen, calls, finals, strict=True)
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m drivers.tiny.evaluate", description="score kernos-tiny")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "kernos-tiny")
    parser.add_argument(
        "--sets", nargs="+", default=["values", "development"], choices=["values", "development", "heldout"]
    )
    parser.add_argument("--count", type=int, default=40, help="made cases for each tool")
    parser.add_argument("--wrong", action="store_true", help="print the cases that are not exact")
    parser.add_argument("--after", action="store_true", help="put earlier episodes before each made case")
    chosen = parser.parse_args()
    complete = torch_backend(chosen.folder)
    for name in chosen.sets:
        if name == "heldout":
            todo = score.load()
        else:
            todo = cases.made(seed=99, count=chosen.count, unseen_phrasings=name == "development", after=chosen.after)
        verdicts = play(todo, complete)
        calls, finals = (sum(v.called for v in verdicts) / len(todo), sum(v.finished for v in verdicts) / len(todo))
        shares = {tool: round(share, 3) for tool, share in score.by_tool(verdicts).items()}
        print(
            json.dumps({"set": name, "n": len(todo), "calls": round(calls, 3), "finals": round(finals, 3)} | shares),
            flush=True,
        )
        if chosen.wrong:
            for v in verdicts:
                if not v.exact:
                    print(
                        "  ",
                        v.case.id,
                        repr(v.case.request[-160:]),
                        "->",
                        repr(v.said),
                        "wanted",
                        v.case.call.arguments,
                        repr(v.case.final),
                    )


if __name__ == "__main__":
    main()
