"""Who runs in the demo, on what, with which rights and questions."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, final

from msgspec import Struct

from examples.demo import documents, questions
from examples.demo.agents import FILE
from examples.demo.documents import Text
from examples.demo.questions import Question
from syscalls.calls.process import Budget
from userland.programs.manifest import rights_of

Role = Literal["ask", "crew", "errands", "trespasser", "rambler"]
ROLES: tuple[tuple[Role, str], ...] = (
    ("ask", "python"),
    ("errands", "sums"),
    ("trespasser", ""),
    ("rambler", ""),
    ("crew", "project"),
    ("errands", "memory"),
    ("ask", "project"),
    ("errands", "glossary"),
    ("ask", "python"),
    ("ask", "project"),
    ("errands", "sums"),
    ("ask", "python"),
)
"""Who takes part, the indispensable first: a demo with fewer agents leaves out the end."""
AGENTS_MIN = 4
CREW_QUESTIONS = 3
DRAWS_MAX = 8
HELPER_TOKENS = 30_000
RAMBLER_TOKENS = 100_000


@final
class Agent(Struct, frozen=True, kw_only=True):
    """An agent: what is spawned, and what it is asked. `stranger` is told the pid of another agent."""

    name: str
    role: Role
    program: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    rights: tuple[str, ...]
    budget: Budget | None = None
    questions: tuple[Question, ...] = ()


def cast(rng: random.Random, folder: Path, agents: int) -> list[Agent]:
    """The agents of a run, and in `folder` the documents that they read."""
    roles = ROLES[:agents]
    shelves = {"python": documents.python_texts, "project": documents.project_texts}
    asked: dict[str, list[Question]] = {}
    for shelf, draw in shelves.items():
        count = sum(CREW_QUESTIONS if role == "crew" else 1 for role, of in roles if of == shelf)
        asked[shelf] = _asked(rng, draw, folder / shelf, count)
    counts: dict[str, int] = {}
    chosen = []
    for role, of in roles:
        counts[role] = counts.get(role, 0) + 1
        name = f"{role}-{counts[role]}" if role in ("ask", "errands") else role
        chosen.append(_agent(rng, name, role, of, folder / of, asked.get(of, [])))
    return chosen


def _asked(rng: random.Random, draw: Callable[[random.Random], list[Text]], folder: Path, count: int) -> list[Question]:
    """Documents in `folder` and questions about them; drawn again where too few of their sentences can be asked for."""
    for _ in range(DRAWS_MAX - 1):
        documents.write(folder, draw(rng))
        try:
            return questions.about(rng, folder, count)
        except ValueError:
            shutil.rmtree(folder)
    documents.write(folder, draw(rng))
    return questions.about(rng, folder, count)


def _agent(rng: random.Random, name: str, role: Role, of: str, folder: Path, asked: list[Question]) -> Agent:
    reads = f"file:{folder}/** read"
    match role:
        case "ask":
            one = asked.pop()
            return Agent(
                name=name, role=role, program="ask", args=(one.text, str(folder)), kwargs={"quiet": True},
                rights=(*rights_of("ask"), reads), questions=(one,),
            )  # fmt: skip
        case "crew":
            share = tuple(asked.pop() for _ in range(CREW_QUESTIONS))
            return Agent(
                name=name, role=role, program="crew", args=(str(folder), [each.text for each in share]),
                kwargs={"quiet": True, "tokens": HELPER_TOKENS}, rights=(*rights_of("crew"), reads), questions=share,
            )  # fmt: skip
        case "errands":
            todo = tuple(_errands(rng, of))
            return Agent(
                name=name, role=role, program=f"{FILE}:errands", args=([each.text for each in todo],),
                rights=rights_of("chat"), questions=todo,
            )  # fmt: skip
        case "trespasser":
            return Agent(name=name, role=role, program=f"{FILE}:trespasser", rights=("process:self",))
        case "rambler":
            return Agent(
                name=name, role=role, program=f"{FILE}:rambler", rights=("model:*", "process:self"),
                budget=Budget(tokens=RAMBLER_TOKENS),
            )  # fmt: skip


def _errands(rng: random.Random, of: str) -> list[Question]:
    if of == "memory":
        return questions.memories(rng)
    return questions.sums(rng, 2) if of == "sums" else questions.lookups(rng, 2)
