"""`ask`: answers questions from a folder of documents that need not fit the window, and names its sources."""

from pathlib import Path

from msgspec import Struct

from syscalls.calls.context import Passage
from syscalls.errors import Invalid, NotFound
from syscalls.turns import ToolCall, Turn, user
from userland.agent import ANSWER_TOKENS_MAX, TOOLS, Toolbox, answered, converse
from userland.documents import Document, check_folder
from userland.programs.reading import documents
from userland.sdk.context import Context
from userland.sdk.program import program
from userland.sdk.system import Sys

BATCH_CHARS = 40_000
BATCH_TURNS = 64


class Source(Struct, frozen=True):
    """A page that the answer rests on: its address, where it came from, its beginning."""

    page: str
    source: str
    text: str


class Answered(Struct, frozen=True):
    """One question's answer. `recalled` is false where the model answered without looking."""

    question: str
    answer: str
    sources: tuple[Source, ...]
    recalled: bool
    tokens: int
    faults: int
    finish: str


class Asked(Struct, frozen=True):
    """What `ask` returns: an answer per question; how much was read, and what was not."""

    answers: tuple[Answered, ...]
    files: int
    passages: int
    skipped: tuple[str, ...]
    model: str

    @property
    def tokens(self) -> int:
        return sum(answer.tokens for answer in self.answers)


@program
async def ask(
    sys: Sys,
    question: str,
    folder: Path,
    *,
    also: list[str] = [],  # noqa: B006 (a command line's default, never changed)
    passages: int = 2,
    model: str | None = None,
    first: bool = False,
    quiet: bool = False,
) -> Asked:
    """Answers QUESTION from the documents in FOLDER, and names the pages it used.

    --also asks a further question of the same documents; --passages is how many are shown to the model at once;
    --first recalls before the model is asked instead of waiting for it to.
    """
    if passages < 1:
        raise Invalid("usage: --passages must be at least 1")
    context = await sys.open(model=model, tools=TOOLS, reserve_tokens=ANSWER_TOKENS_MAX)
    files, total, skipped = await read_in(sys, context, folder, quiet=quiet)
    answers: list[Answered] = []
    questions = [question, *also]
    for number, text in enumerate(questions):
        await sys.note(f"asking {context.model}", done=number, total=len(questions))
        async with await context.fork() as asked:  # so that no question is found as an answer to another
            answers.append(await _answer(sys, asked, text, k=passages, first=first))
        if not quiet:
            _show(answers[-1])
    await context.close()
    return Asked(tuple(answers), files, total, tuple(skipped), context.model)


async def read_in(sys: Sys, context: Context, folder: Path, *, quiet: bool) -> tuple[int, int, list[str]]:
    """Appends every readable document to pages of the context, past its window."""
    try:
        check_folder(folder)
    except OSError as failed:
        why = f"{folder} cannot be read ({failed.strerror})"
        raise NotFound(f"{why}: grant it with --allow 'file:{folder}/** read'") from None
    files = total = 0
    skipped: list[str] = []
    batch: list[Turn] = []
    async for found in documents(sys, folder):
        if not isinstance(found, Document):
            skipped.append(str(found))
            if not quiet:
                print(found)
            continue
        files += 1
        for passage in found.passages:
            batch.append(user(passage.text, source=passage.source))
            if len(batch) >= BATCH_TURNS or sum(len(turn.text) for turn in batch) >= BATCH_CHARS:
                total += await _flush(context, batch)
                await sys.note(f"reading {found.name}", done=total)
    total += await _flush(context, batch)
    if not total:
        raise NotFound(f"{folder} holds no document that can be read: give a folder of text files")
    return files, total, skipped


async def _flush(context: Context, batch: list[Turn]) -> int:
    if batch:
        await context.append(*batch, resident=False)
    taken = len(batch)
    batch.clear()
    return taken


async def _answer(sys: Sys, context: Context, question: str, *, k: int, first: bool) -> Answered:
    """Asks; the model recalls what it needs, or, with `first`, is shown it before it speaks."""
    tools = Toolbox(sys, context, k=k, tokens_max=max(256, context.window_tokens // 3))
    await context.append(user(question))
    if first:
        call = ToolCall("recall", {"query": question}, "first")
        await context.append(Turn("assistant", (call,)))
        shown = await tools(call)
        if shown is not None:
            await context.append(answered(call, shown))
    spoken = await converse(context, tools)
    return Answered(
        question=question,
        answer=spoken.text,
        sources=sources_of(tools.passages),
        recalled=bool(tools.passages),
        tokens=spoken.prompt_tokens + spoken.generated_tokens,
        faults=tools.faults,
        finish=spoken.finish,
    )


def sources_of(passages: list[Passage]) -> tuple[Source, ...]:
    """Each page once, in the order in which they were found."""
    by_page = {passage.page: Source(passage.page, passage.source, passage.text[:200]) for passage in reversed(passages)}
    return tuple(reversed(by_page.values()))


def _show(answered: Answered) -> None:
    print(f"{answered.question}\n  {answered.answer}")
    for source in answered.sources:
        print(f"  from {source.source} (page {source.page[:12]})")
    if not answered.recalled:
        print("  the model answered without looking into the documents")
