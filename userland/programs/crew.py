"""`crew`: a parent that gives each of its helpers a question and a budget, and joins what they found."""

from pathlib import Path

import msgspec
import trio
from msgspec import Struct

from syscalls.calls.process import Budget, Exit
from syscalls.errors import Invalid, SyscallError
from userland.programs.ask import Answered, Asked
from userland.sdk.encoding import decode
from userland.sdk.program import program
from userland.sdk.system import Sys

HELPERS_MAX = 64


class Share(Struct, frozen=True):
    """What one helper came to; `status` as wait reports it, `error` where it is not `done`."""

    pid: int
    question: str
    status: str
    answers: tuple[Answered, ...] = ()
    tokens: int = 0
    wall_s: float = 0.0
    error: str = ""


class Report(Struct, frozen=True):
    """All shares in the order of the questions; those that failed are shown as such and the rest counts."""

    shares: tuple[Share, ...]
    done: int
    tokens: int


@program
async def crew(
    sys: Sys,
    folder: Path,
    questions: list[str],
    *,
    tokens: int = 20_000,
    at_once: int = 4,
    model: str | None = None,
    quiet: bool = False,
) -> Report:
    """Asks several QUESTIONS of the documents in FOLDER, each by a helper process with a budget of its own.

    --tokens is each helper's budget, --at-once how many run side by side. A helper that fails or runs over its budget
    is reported as such.
    """
    if not questions:
        raise Invalid("usage: crew FOLDER QUESTION ...: give at least one question")
    if not 1 <= at_once <= HELPERS_MAX:
        raise Invalid(f"usage: --at-once must be from 1 to {HELPERS_MAX}")
    shares: dict[int, Share] = {}
    seats = trio.Semaphore(at_once)

    async def help_with(number: int, question: str) -> None:
        async with seats:
            shares[number] = await _share(sys, question, folder, Budget(tokens=tokens), model)
        await sys.note(f"{len(shares)} of {len(questions)} answered", done=len(shares), total=len(questions))

    async with trio.open_nursery() as nursery:
        for number, question in enumerate(questions):
            nursery.start_soon(help_with, number, question)
    ordered = tuple(shares[number] for number in range(len(questions)))
    report = Report(ordered, sum(share.status == "done" for share in ordered), sum(share.tokens for share in ordered))
    if not quiet:
        _show(report)
    return report


async def _share(sys: Sys, question: str, folder: Path, budget: Budget, model: str | None) -> Share:
    """One helper from spawn to exit. Whatever goes wrong with it is its share, not the crew's end."""
    try:
        child = await sys.spawn(
            "ask",
            question,
            str(folder),
            kwargs={"quiet": True},
            name=f"ask {question[:40]}",
            budget=budget,
            model=model,
        )
    except SyscallError as refused:
        return Share(0, question, "not started", error=str(refused))
    return _joined(question, await child.ended())


def _joined(question: str, exit_: Exit) -> Share:
    share = Share(exit_.pid, question, exit_.status, tokens=exit_.tokens, wall_s=exit_.wall_s, error=exit_.error)
    if exit_.status != "done":
        return share
    asked: Asked = decode(exit_.value, Asked)
    return msgspec.structs.replace(share, answers=asked.answers)


def _show(report: Report) -> None:
    print(f"{'PID':>5}  {'STATUS':<11} {'TOKENS':>7} {'TIME':>6}  QUESTION / ANSWER")
    for share in report.shares:
        print(f"{share.pid:>5}  {share.status:<11} {share.tokens:>7} {share.wall_s:>5.1f}s  {share.question}")
        for answer in share.answers:
            print(f"{'':>34}  {answer.answer}")
            for source in answer.sources:
                print(f"{'':>34}  from {source.source}")
        if share.error:
            print(f"{'':>34}  {share.error}")
    print(f"{report.done} of {len(report.shares)} answered, {report.tokens} tokens")
