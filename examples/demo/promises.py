"""What the machine promised, and whether the trace of this run shows it; what the model got right is not among it."""

from collections.abc import Iterator
from typing import final

from msgspec import Struct

from examples.demo.play import Played
from examples.demo.scene import Agent
from examples.demo.story import Story


@final
class Promise(Struct, frozen=True):
    """A promise, and whether it was kept."""

    text: str
    kept: bool


def promises(agents: list[Agent], played: Played, story: Story) -> list[Promise]:
    """All of them, in the order in which they are told."""
    return [Promise(text, kept) for text, kept in _judged(agents, played, story)]


def _judged(agents: list[Agent], played: Played, story: Story) -> Iterator[tuple[str, bool]]:
    others = [agent for agent in agents if agent.name != played.victim]
    statuses = {name: exit_.status for name, exit_ in played.exits.items()}
    yield (
        f"all {len(agents)} agents ran to their end in time",
        not played.late and all(statuses.get(agent.name) == "done" for agent in others),
    )
    tools = [record for record in story.tool_calls if "calculator" in record.args]
    yield f"a tool was called in its sandbox (calculations: {len(tools)})", bool(tools)
    asks = asking(agents, played, story)
    faults = sum(story.lives[pid].faults for pid in asks)
    yield (
        f"no fewer pages were brought in than there were asks (page faults: {faults}, asks: {len(asks)})",
        faults >= len(asks) > 0,
    )
    denied = [record for record in story.denials if record.name == "process.kill"]
    yield "a forbidden system call was denied (EPERM)", bool(denied)
    yield f"KILL ended {played.victim}", statuses.get(played.victim) == "killed"
    yield (
        f"a killed driver host was replaced, its generations issued again (reissued: {story.reissued})",
        _recovered(story),
    )


def asking(agents: list[Agent], played: Played, story: Story) -> list[int]:
    """The pids of the asks: those we spawned, and the crew's helpers."""
    ours = [played.pids[agent.name] for agent in agents if agent.role == "ask" and agent.name in played.pids]
    crews = {played.pids[agent.name] for agent in agents if agent.role == "crew" and agent.name in played.pids}
    return ours + [life.pid for life in story.programs if life.parent in crews]


def _recovered(story: Story) -> bool:
    """A host died; afterwards one for the same device was ready; and something that had been begun was resumed."""
    for lost in story.hosts:
        if lost.kind == "host_lost" and story.reissued:
            device = lost.detail["device"]
            after = (each for each in story.hosts if each.seq > lost.seq and each.kind == "host_ready")
            if any(each.detail["device"] == device for each in after):
                return True
    return False
