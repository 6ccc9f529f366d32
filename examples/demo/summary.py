"""The summary: who answered what, on which pages, right or wrong; what was refused, what broke; what it all took."""

import textwrap
from collections.abc import Iterator

from examples.demo.agents import Tried
from examples.demo.answers import Verdict, verdicts
from examples.demo.play import Played
from examples.demo.promises import Promise
from examples.demo.scene import Agent
from examples.demo.story import Story, how
from examples.demo.view import Paint, name_of
from userland.sdk.encoding import decode

WIDTH_MAX = 100
ANSWER_CHARS_MAX = 400


def summary(
    agents: list[Agent], played: Played, story: Story, kept: list[Promise], *, paint: Paint, width: int
) -> Iterator[str]:
    """Its lines."""
    width = min(width, WIDTH_MAX)
    told = [verdict for agent in agents for verdict in verdicts(agent, played.exits.get(agent.name))]
    yield from _titled("What was asked and answered", paint)
    for verdict in told:
        yield from _answer(verdict, paint, width)
    yield from _titled("What was refused", paint)
    yield from _wrapped(_refusals(agents, played, story), width)
    yield from _titled("What was killed, and what became of it", paint)
    yield from _wrapped(_killings(played, story), width)
    yield from _titled("What it took", paint)
    yield from _figures(told, played, story, width)
    yield from _titled("What was promised", paint)
    for promise in kept:
        mark = paint("kept  ", "green") if promise.kept else paint("BROKEN", "red")
        yield f"  {mark}  {promise.text}"


def _titled(title: str, paint: Paint) -> Iterator[str]:
    yield ""
    yield paint(title, "bold")


def _answer(verdict: Verdict, paint: Paint, width: int) -> Iterator[str]:
    mark = paint("right", "green") if verdict.right else paint("WRONG", "red")
    yield f"  {verdict.agent:<11} {mark}  {verdict.question.text}"
    indent = " " * 21
    said = textwrap.shorten(verdict.why_not or verdict.answer or "(nothing)", ANSWER_CHARS_MAX, placeholder=" …")
    yield from textwrap.wrap(said, width, initial_indent=indent, subsequent_indent=indent)
    notes = [f"from {source}" for source in verdict.sources]
    notes += [f"used {', '.join(verdict.tools)}"] if verdict.tools else []
    if not verdict.right:
        notes.append(f'should have said "{verdict.question.expected}"')
    for note in notes:
        for line in textwrap.wrap(note, width, initial_indent=indent, subsequent_indent=indent + "  "):
            yield paint(line, "dim")


def _refusals(agents: list[Agent], played: Played, story: Story) -> Iterator[str]:
    for agent in agents:
        exit_ = played.exits.get(agent.name)
        if agent.role == "trespasser" and exit_ is not None and exit_.status == "done":
            for each in decode(exit_.value, list[Tried]):
                yield f"{agent.name}: {each.what}: " + (f"refused by {each.refused}" if each.refused else "ALLOWED")
    for record in story.denials:
        yield f"trace record {record.seq}: {record.name}({record.args}) of process {record.pid}: {record.errno}"


def _killings(played: Played, story: Story) -> Iterator[str]:
    for record in story.signals:
        life = story.lives.get(record.pid)
        if life is not None:
            yield (
                f"{name_of(life, story)} (process {life.pid}) was sent {record.detail['signal']} at "
                f"{record.at_s - story.began_s:.1f} s: {life.status} after {life.tokens:,} tokens"
            )
    for lost in story.hosts:
        if lost.kind == "host_lost":
            yield _loss(lost.detail, lost.at_s - story.began_s, lost.seq, story)


def _loss(detail: dict[str, str], at_s: float, seq: int, story: Story) -> str:
    text = f"the driver host of {detail['device']} (OS process {detail['host']}) died ({how(detail['status'])})"
    text += f" at {at_s:.1f} s"
    for after in story.hosts:
        if after.kind == "host_ready" and after.seq > seq and after.detail["device"] == detail["device"]:
            up_s = after.at_s - story.began_s
            return (
                f"{text}; another (OS process {after.detail['host']}) was ready at {up_s:.1f} s, and "
                f"{story.reissued} generations were issued again to it"
            )
    return f"{text}; no other took its place"


def _figures(told: list[Verdict], played: Played, story: Story, width: int) -> Iterator[str]:
    made = sum(record.generated_tokens for record in story.generations)
    read = sum(record.prompt_tokens for record in story.generations)
    busy_s = story.generating_s
    ready = [each for each in story.hosts if each.kind == "host_ready" and each.detail["restarts"] == "0"]
    figures = {
        "answers": f"{sum(verdict.right for verdict in told)} right of {len(told)}",
        "processes": f"{len(played.pids)} agents, {len(story.programs) - len(played.pids)} helpers of theirs",
        "tokens": f"{made:,} generated in {len(story.generations)} generations, {read:,} read",
        "speed": f"{made / busy_s:,.0f} tokens a second in the {busy_s:.1f} s in which any were generated"
        if busy_s
        else "-",
        "page faults": f"{sum(life.faults for life in story.programs)}",
        "tool calls": f"{len(story.tool_calls)}",
        "denials": f"{len(story.denials)}",
        "restarts": f"{sum(each.kind == 'host_ready' and each.detail['restarts'] != '0' for each in story.hosts)}",
        "ready": ", ".join(f"{each.detail['device']} at {each.at_s - story.began_s:.1f} s" for each in ready),
        "all ended": f"at {max((life.ended_s or 0.0) for life in story.programs) - story.began_s:.1f} s after boot",
    }
    for name, text in figures.items():
        yield from textwrap.wrap(f"  {name:<12} {text}", width, subsequent_indent=" " * 15)


def _wrapped(lines: Iterator[str], width: int) -> Iterator[str]:
    for line in lines:
        yield from textwrap.wrap(line, width, initial_indent="  ", subsequent_indent="    ")
