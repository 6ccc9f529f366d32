"""`job`: runs what a job file defines, item by item, and says what each took and rests on."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import trio
from msgspec import Struct
from msgspec.structs import replace

from syscalls.errors import Invalid, OverQuota, SyscallError
from syscalls.turns import user
from userland.agent import ANSWER_TOKENS_MAX, TOOLS, Spoken, Toolbox, converse
from userland.documents import Document
from userland.jobfile import Job
from userland.programs.ask import Source, read_in, sources_of
from userland.programs.reading import document
from userland.schema import problem
from userland.sdk.context import Context
from userland.sdk.program import program
from userland.sdk.system import Sys

Status = Literal["done", "invalid", "failed", "over_quota", "late"]


class Item(Struct, frozen=True, kw_only=True):
    """One item's outcome: a question or an input file. `value` is the answer in the form that was asked for."""

    name: str
    status: Status
    value: Any = None
    text: str = ""
    error: str = ""
    sources: tuple[Source, ...] = ()
    pages: tuple[str, ...] = ()
    tries: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    seconds: float = 0.0


class Result(Struct, frozen=True, kw_only=True):
    """What a job came to, its items in order."""

    kind: str
    model: str
    items: tuple[Item, ...]
    done: int
    tokens: int
    seconds: float


Work = Callable[[], Awaitable[Item]]


@program
async def job(sys: Sys, spec: Job) -> Result:
    """Runs a checked job. `kernos run job.toml` reads the file, sets budget and priority, and spawns this."""
    began = (await sys.now()).monotonic_s
    runner = _Runner(sys, spec)
    work = await runner.prepare()
    items = await _side_by_side(sys, spec, work)
    ended = (await sys.now()).monotonic_s
    return Result(
        kind=spec.kind,
        model=runner.model,
        items=items,
        done=sum(item.status == "done" for item in items),
        tokens=sum(item.prompt_tokens + item.generated_tokens for item in items),
        seconds=ended - began,
    )


async def _side_by_side(sys: Sys, spec: Job, work: dict[str, Work]) -> tuple[Item, ...]:
    """At most `at_once` items at a time, until all are done or the deadline has passed."""
    found: dict[str, Item] = {}
    seats = trio.Semaphore(spec.strategy.at_once)

    async def one(name: str, run: Work) -> None:
        async with seats:
            began = (await sys.now()).monotonic_s
            item = await _guarded(name, run)
            found[name] = replace(item, seconds=(await sys.now()).monotonic_s - began)
        print(f"{item.status:<10} {name}: {item.error or item.text or item.value}")
        await sys.note(f"{spec.kind} {len(found)}/{len(work)}", done=len(found), total=len(work))

    deadline_s = spec.strategy.deadline_s
    with trio.move_on_after(float("inf") if deadline_s is None else deadline_s):
        async with trio.open_nursery() as nursery:
            for name, run in work.items():
                nursery.start_soon(one, name, run)
    late = f"the job's deadline of {deadline_s} s passed"
    return tuple(found.get(name) or Item(name=name, status="late", error=late) for name in work)


async def _guarded(name: str, run: Work) -> Item:
    try:
        return await run()
    except OverQuota as dear:
        return Item(name=name, status="over_quota", error=str(dear))
    except SyscallError as failed:
        return Item(name=name, status="failed", error=str(failed))


class _Runner:
    """What the three kinds have in common: the job, and the model it turned out to run on."""

    def __init__(self, sys: Sys, spec: Job) -> None:
        self._sys = sys
        self._spec = spec
        self.model = spec.strategy.model or ""

    async def prepare(self) -> dict[str, Work]:
        """Each item by name, ready to run."""
        if self._spec.kind == "ask":
            return await self._questions()
        if not self._spec.inputs:
            return {"prompt": lambda: self._generate("prompt", self._spec.prompt)}
        make = self._embed if self._spec.kind == "embed" else self._generate_of
        return {path: lambda path=path: make(path) for path in self._spec.inputs}  # type: ignore[misc]

    async def _questions(self) -> dict[str, Work]:
        """The documents are read in once; every question has a fork of that conversation."""
        base = await self._open()
        await read_in(self._sys, base, Path(self._spec.inputs[0]), quiet=False)
        return {question: lambda question=question: self._ask(base, question) for question in self._spec.questions}  # type: ignore[misc]

    async def _open(self) -> Context:
        context = await self._sys.open(model=self._spec.strategy.model, tools=TOOLS, reserve_tokens=ANSWER_TOKENS_MAX)
        self.model = context.model
        return context

    async def _ask(self, base: Context, question: str) -> Item:
        async with await base.fork() as context:
            return await self._converse(context, question, question)

    async def _generate_of(self, path: str) -> Item:
        text = await _text_of(self._sys, Path(path))
        return await self._generate(path, self._spec.prompt.replace("{file}", Path(path).name).replace("{text}", text))

    async def _generate(self, name: str, prompt: str) -> Item:
        async with await self._open() as context:
            return await self._converse(context, name, prompt)

    async def _converse(self, context: Context, name: str, prompt: str) -> Item:
        """Says the prompt; says it again with what was wrong while the answer does not fit and tries are left."""
        output, strategy = self._spec.output, self._spec.strategy
        tools = Toolbox(self._sys, context, tokens_max=max(256, context.window_tokens // 3))
        item = Item(name=name, status="invalid")
        wrong: str | None = None
        for attempt in range(1, output.tries + 1):
            await context.append(user(prompt if wrong is None else f"{prompt}\n{wrong}: answer again."))
            spoken = await converse(
                context,
                tools,
                max_tokens=strategy.max_tokens,
                temperature=strategy.temperature,
                seed=strategy.seed,
            )
            value, wrong = judge(self._spec, spoken)
            item = Item(
                name=name,
                status="done" if wrong is None else "invalid",
                value=value,
                text=spoken.text,
                error=wrong or "",
                sources=sources_of(tools.passages),
                pages=tuple(dict.fromkeys(passage.page for passage in tools.passages)),
                tries=attempt,
                prompt_tokens=item.prompt_tokens + spoken.prompt_tokens,
                generated_tokens=item.generated_tokens + spoken.generated_tokens,
            )
            if wrong is None:
                break
        return item

    async def _embed(self, path: str) -> Item:
        """A vector for each passage of the file."""
        found = await document(self._sys, Path(path))
        if not isinstance(found, Document):
            raise Invalid(found.why)
        vectors = await self._sys.embed(*(passage.text for passage in found.passages), model_name=self.model or None)
        value = [
            {"source": p.source, "vector": list(vector)} for p, vector in zip(found.passages, vectors, strict=True)
        ]
        return Item(name=path, status="done", value=value, text=f"{len(vectors)} vectors", tries=1)


def judge(spec: Job, spoken: Spoken) -> tuple[Any, str | None]:
    """The answer in the form asked for, and what is wrong with it.

    For JSON that is the text if it is JSON, else the arguments of the last tool call: a model that speaks through
    calls has said its structured answer there. The first that fits the schema counts; otherwise the first is told of.
    """
    if spec.output.format == "text":
        return spoken.text, None if spoken.text.strip() else "the answer is empty"
    candidates: list[Any] = []
    try:
        candidates.append(json.loads(spoken.text))
    except ValueError:
        pass
    candidates += [step.arguments for step in reversed(spoken.steps)]
    reasons = [problem(spec.output.schema, value) for value in candidates]
    for value, reason in zip(candidates, reasons, strict=True):
        if reason is None:
            return value, None
    return None, reasons[0] if reasons else "the answer is no JSON"


async def _text_of(sys: Sys, path: Path) -> str:
    if path.is_dir():
        raise Invalid(f"{path} is a folder: kind 'generate' takes files")
    found = await document(sys, path)
    if not isinstance(found, Document):
        raise Invalid(found.why)
    return "\n\n".join(passage.text for passage in found.passages)
