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
ANSWER_TOKENS_MAX = 512
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


Handler = Callable[..., Awaitable[str | None]]
"""Takes the call's arguments by name; gives the tool turn's text, or None when the model has been shown it already."""


@final
class Toolbox:
    """The shipped tools on one conversation. What is remembered goes to the conversation `memory` (its own: None)."""

    def __init__(
        self, sys: Sys, context: Context, *, memory: Context | None = None, k: int = 2, tokens_max: int = 1024
    ) -> None:
        self._sys = sys
        self._context = context
        self._memory = memory
        self._k = k
        self._tokens_max = tokens_max
        self.passages: list[Passage] = []
        self.faults = 0

    def handlers(self) -> dict[str, Handler]:
        """The tools by name."""
        return {
            "calculate": self.calculate,
            "lookup": self.lookup,
            "recall": self.recall,
            "remember": self.remember,
            "answer": self.answer,
        }

    async def calculate(self, expression: str) -> str:
        """In the sandboxed calculator."""
        return (await self._sys.call_tool("calculator", "calculate", expression=expression)).text

    async def lookup(self, term: str) -> str:
        """In the sandboxed glossary."""
        return (await self._sys.call_tool("glossary", "lookup", term=term)).text

    async def recall(self, query: str) -> str | None:
        """Finds passages and lets the kernel page them into the window, where they are the call's answer."""
        found = await self._context.recall(query, k=self._k, tokens_max=self._tokens_max, page_in=True)
        self.faults += found.faults
        passages = found.passages
        if not passages and self._memory is not None:
            passages = (await self._memory.recall(query, k=1, tokens_max=self._tokens_max)).passages
        self.passages += passages
        if found.passages and found.faults:
            return None
        return "\n\n".join(passage.text for passage in passages) or NOTHING_FOUND

    async def remember(self, text: str) -> str:
        """A turn of the memory's conversation, which outlives this one."""
        await (self._memory or self._context).append(tool(text, name="memory", source="memory"), resident=False)
        return "stored"

    async def answer(self, text: str) -> str:
        """The answer is what the model says next."""
        return "delivered"


async def converse(
    context: Context,
    handlers: Mapping[str, Handler],
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
            result = await use(handlers, call)
            steps.append(Step(call.name, call.arguments, result if result is not None else "(paged in)"))
            if result is not None:
                await context.append(answered(call, result))
    return replace(spent, finish="rounds", steps=tuple(steps))


async def use(handlers: Mapping[str, Handler], call: ToolCall) -> str | None:
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
