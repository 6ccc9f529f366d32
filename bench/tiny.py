"""The shipped model's score, taken through a kernel: greedy, no constrained decoding. `python -m bench.tiny [--quick]`.

Two sets: unseen values in trained phrasings, and the held-out file, whose phrasings and passages training never saw.
What counts as exact stands in `drivers/tiny/score.py`.
"""

import argparse
import json
import sys
from pathlib import Path

import trio

from bench.kernelside import kernel, table
from drivers.tiny import cases, score
from drivers.tiny.wire import Turn as Said
from drivers.tiny.wire import read_call, write_call
from syscalls.turns import ToolCall, Turn, assistant, system, tool, user
from userland.sdk.connect import connect
from userland.sdk.system import Sys

AT_ONCE = 16
NEW_TOKENS_MAX = 200
VALUES_EACH = 48


def turn_of(said: Said) -> Turn:
    """A turn of the corpus as the ABI has it."""
    if said.role == "system":
        return system(said.text)
    if said.role == "user":
        return user(said.text)
    if said.role == "tool":
        return tool(said.text)
    call = read_call(said.text)
    return assistant(said.text) if call is None else assistant("", ToolCall(call.name, call.arguments))


async def complete(sys_: Sys, turns: tuple[Turn, ...]) -> str:
    """The model's next turn, a call written as the corpus writes it."""
    answer = await sys_.generate(*turns, max_tokens=NEW_TOKENS_MAX)
    if answer.calls:
        return answer.text + write_call(answer.calls[0].name, **answer.calls[0].arguments)
    return answer.text


async def play(sys_: Sys, case: score.Case) -> score.Verdict:
    """Both turns; the second is made even if the first was wrong, after the call that was expected."""
    opened = (*map(turn_of, case.before), user(case.request))
    said = await complete(sys_, opened)
    right = score.call_exact(case, said)
    call = Said("assistant", said if right else score.expected_call(case))
    final = await complete(sys_, (*opened, turn_of(call), tool(case.result)))
    return score.Verdict(case, right, score.final_exact(case, final), (said, final))


async def play_all(sys_: Sys, chosen: tuple[score.Case, ...]) -> list[score.Verdict]:
    """Every case, some at once; a line of progress now and then."""
    verdicts: list[score.Verdict] = []
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(case: score.Case) -> None:
        async with limit:
            verdicts.append(await play(sys_, case))
        if len(verdicts) % 40 == 0:
            print(f"  {len(verdicts)}/{len(chosen)}", file=sys.stderr, flush=True)

    async with trio.open_nursery() as nursery:
        for case in chosen:
            nursery.start_soon(one, case)
    return verdicts


async def measure(socket: Path, *, quick: bool, wrong: bool) -> dict[str, float]:
    """The shares that are exact."""
    sets = {
        "unseen_values": cases.made(seed=7, count=8 if quick else VALUES_EACH, unseen_phrasings=False),
        "unseen_phrasings": score.load()[:: 5 if quick else 1],
    }
    figures: dict[str, float] = {}
    async with connect(socket) as sys_:
        for name, chosen in sets.items():
            verdicts = await play_all(sys_, tuple(chosen))
            shares = score.by_tool(verdicts)
            figures |= {f"{name}_{tool_name}": share for tool_name, share in shares.items() if tool_name != "all"}
            figures[name] = shares["all"]
            for verdict in verdicts if wrong else ():
                if not verdict.exact:
                    print(verdict.case.id, repr(verdict.case.request), "->", verdict.said)
    return figures


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.tiny", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the cases")
    parser.add_argument("--model", default="kernos-tiny", help="a folder to score instead")
    parser.add_argument("--wrong", action="store_true", help="show what was not exact")
    chosen = parser.parse_args()
    with kernel(f'[models.tiny]\norigin = "{chosen.model}"\n') as socket:
        figures = trio.run(lambda: measure(socket, quick=chosen.quick, wrong=chosen.wrong))
    table(figures)
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
