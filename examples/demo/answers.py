"""What the agents came home with: each question with its answer, its sources, and whether that is right."""

from typing import final

import msgspec
from msgspec import Struct

from examples.demo.agents import Errand
from examples.demo.questions import Question
from examples.demo.scene import Agent
from syscalls.calls.process import Exit
from userland.programs.ask import Answered, Asked
from userland.programs.crew import Report
from userland.sdk.encoding import decode


@final
class Verdict(Struct, frozen=True):
    """One question of an agent: what it answered, on what, with which tools. `why_not` where there is no answer."""

    agent: str
    question: Question
    answer: str = ""
    sources: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    why_not: str = ""

    @property
    def right(self) -> bool:
        """Whether the answer says what it must."""
        return not self.why_not and self.question.answered_by(self.answer)


def verdicts(agent: Agent, exit_: Exit | None) -> list[Verdict]:
    """One for every question of the agent, in order."""
    if exit_ is None or exit_.status != "done":
        why_not = "it had not ended" if exit_ is None else f"{exit_.status}: {exit_.error}"
        return [Verdict(agent.name, each, why_not=why_not) for each in agent.questions]
    match agent.role:
        case "ask":
            asked: Asked = decode(exit_.value, Asked)
            return [_read(agent.name, *pair) for pair in zip(agent.questions, asked.answers, strict=True)]
        case "crew":
            report: Report = decode(exit_.value, Report)
            return [
                _read(f"{agent.name}/{number}", question, share.answers[0])
                if share.answers
                else Verdict(f"{agent.name}/{number}", question, why_not=f"{share.status}: {share.error}")
                for number, (question, share) in enumerate(zip(agent.questions, report.shares, strict=True), 1)
            ]
        case "errands":
            done: list[Errand] = decode(exit_.value, list[Errand])
            return [
                Verdict(agent.name, question, one_line(errand.answer), tools=errand.tools)
                for question, errand in zip(agent.questions, done, strict=True)
            ]
    return []


def _read(name: str, question: Question, answered: Answered) -> Verdict:
    sources = tuple(f"{each.source}, page {each.page[:12]}" for each in answered.sources)
    return Verdict(name, question, one_line(answered.answer), sources)


def one_line(text: str) -> str:
    """For people: without line ends."""
    return " ".join(text.split())


def plain_value(exit_: Exit) -> object:
    """What any program returned."""
    return msgspec.msgpack.decode(exit_.value) if exit_.status == "done" else None
