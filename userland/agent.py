"""The agent loop: a model speaks, the tools it asks for are run, it reads what they answered, until it has finished."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, final

from msgspec import Struct
from msgspec.structs import replace

from syscalls.calls.context import Generated, Passage
from syscalls.errors import SyscallError
from syscalls.turns import ToolCall, ToolSpec, Turn, tool
from userland.sdk.context import Context
from userland.sdk.system import Sys

ROUNDS_MAX = 6
ANSWER_TOKENS_MAX = 384
"""Also what a context keeps free for answers."""
NOTHING_FOUND = "nothing found"


def _spec(name: str, description: str, parameter: str) -> ToolSpec:
    properties = {parameter: {"type": "string"}}
    return ToolSpec(name, description, {"type": "object", "properties": properties, "required": [parameter]})


TOOLS: tuple[ToolSpec, ...] = (
    _spec("calculate", "Works out an arithmetic expression.", "expression"),
    _spec("lookup", "Looks up a term in the glossary.", "term"),
    _spec("recall", "Finds passages in the documents and memories.", "query"),
    _spec("remember", "Stores a note for later.", "text"),
    _spec("answer", "Delivers the sentence that answers a question about a text.", "text"),
)
"""What the shipped model knows to call, with these names and parameters."""


@final
class ToolError(Exception):
    """A tool cannot do what the model asked; the model is told the sentence."""


@final
class Step(Struct, frozen=True):
    """One tool call of a run and what came of it."""

    tool: str
    arguments: dict[str, object]
    result: str


@final
class Spoken(Struct, frozen=True, kw_only=True):
    """What a run of the loop came to. `passages` were recalled, `pages` stood in the window of the last answer."""

    text: str
    finish: str
    steps: tuple[Step, ...] = ()
    passages: tuple[Passage, ...] = ()
    pages: tuple[str, ...] = ()
    faults: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    driver_s: float = 0.0


Tools = Callable[[ToolCall], Awaitable[str | None]]
"""Answers a call with the tool turn's text, or with None when the model has been shown the answer already."""


@final
class Toolbox:
    """The shipped tools on one conversation: `await toolbox(call)`. Never raises for what a tool or a model got wrong.

    What is remembered goes to the conversation `memory` (its own: None), and is recalled from there too. `k` passages
    of at most `tokens_max` together answer one recall; `passages` are all that were, `faults` those not resident.
    """

    def __init__(
        self, sys: Sys, context: Context, *, memory: Context | None = None, k: int = 2, tokens_max: int = 1024
    ) -> None:
        self._sys = sys
        self._context = context
        self._memory = memory
        self._k = k
        self._tokens_max = tokens_max
        self._page_in = True
        self.passages: list[Passage] = []
        self.faults = 0

    async def __call__(self, call: ToolCall) -> str | None:
        handlers: dict[str, Callable[..., Awaitable[str | None]]] = {
            "calculate": self.calculate,
            "lookup": self.lookup,
            "recall": self.recall,
            "remember": self.remember,
            "answer": self.answer,
        }
        self._page_in = not call.id  # a call with an id must be answered by a turn that names the id
        return await use(handlers, call)

    async def calculate(self, expression: str) -> str:
        """In the sandboxed calculator."""
        return (await self._sys.call_tool("calculator", "calculate", expression=expression)).text

    async def lookup(self, term: str) -> str:
        """In the sandboxed glossary."""
        return (await self._sys.call_tool("glossary", "lookup", term=term)).text

    async def recall(self, query: str) -> str | None:
        """The nearest passages, of the memory too; what the window shows already is left out.

        Where it can, the kernel pages them in, and they are the call's answer themselves."""
        page_in = self._page_in and self._memory is None
        found = await self._context.recall(query, k=self._k, tokens_max=self._tokens_max, page_in=page_in)
        self.faults += found.faults
        passages = [passage for passage in found.passages if not passage.resident]
        if self._memory is not None:
            passages += (await self._memory.recall(query, k=self._k, tokens_max=self._tokens_max)).passages
        passages = sorted(passages, key=lambda passage: -passage.score)[: self._k]
        self.passages += passages or found.passages
        if page_in and passages:
            return None
        return "\n\n".join(passage.text for passage in passages or found.passages) or NOTHING_FOUND

    async def remember(self, text: str) -> str:
        """A turn of the memory's conversation, which outlives this one."""
        await (self._memory or self._context).append(tool(text, name="memory", source="memory"), resident=False)
        return "stored"

    async def answer(self, text: str) -> str:
        """The answer is what the model says next."""
        return "delivered"


async def converse(
    context: Context,
    tools: Tools,
    *,
    rounds_max: int = ROUNDS_MAX,
    max_tokens: int = ANSWER_TOKENS_MAX,
    on_text: Callable[[str], None] | None = None,
    **options: Any,
) -> Spoken:
    """Lets the model speak until it calls no more tools, at most `rounds_max` times; what it said last, and how.

    `options` go to every generation: temperature, seed, …

    A tool that fails answers `error: …` and the model goes on. Raises what context.generate raises.
    """
    steps: list[Step] = []
    spent = Spoken(text="", finish="stop")
    for _ in range(rounds_max):
        answer = context.generate(max_tokens=max_tokens, **options)
        async for text in answer:
            if on_text is not None:
                on_text(text)
        generated = await answer
        spent = _spent(spent, generated, tuple(steps))
        if not generated.calls:
            return spent
        for call in generated.calls:
            result = await tools(call)
            steps.append(Step(call.name, call.arguments, result if result is not None else "(paged in)"))
            if result is not None:
                await context.append(answered(call, result))
    return replace(spent, finish="rounds", steps=tuple(steps))


async def use(handlers: Mapping[str, Callable[..., Awaitable[str | None]]], call: ToolCall) -> str | None:
    """Runs one tool call; whatever is wrong with it is a line that begins with `error:`."""
    handler = handlers.get(call.name)
    if handler is None:
        return f"error: there is no tool {call.name}; there are {', '.join(handlers)}"
    try:
        inspect.signature(handler).bind(**call.arguments)
    except TypeError as bad:
        return f"error: {call.name}: {bad}"
    try:
        return await handler(**call.arguments)
    except ToolError as failed:
        return f"error: {failed}"
    except SyscallError as failed:
        return f"error: {failed.message}"


def answered(call: ToolCall, result: str) -> Turn:
    """The tool turn that answers a call."""
    return tool(result, name=call.name, call_id=call.id, error=result.startswith("error:"))


def _spent(before: Spoken, generated: Generated, steps: tuple[Step, ...]) -> Spoken:
    usage = generated.usage
    return Spoken(
        text=generated.text,
        finish=generated.finish,
        steps=steps,
        pages=generated.pages,
        faults=before.faults + generated.faults,
        prompt_tokens=before.prompt_tokens + usage.prompt_tokens,
        generated_tokens=before.generated_tokens + usage.generated_tokens,
        driver_s=before.driver_s + usage.driver_s,
    )
