"""`chat`: talk with the model, streaming; it may use the tools."""

from msgspec import Struct

from syscalls.turns import user
from userland.agent import ANSWER_TOKENS_MAX, TOOLS, Spoken, Toolbox, converse
from userland.sdk.context import Context
from userland.sdk.program import program
from userland.sdk.system import Sys

MEMORY = "memory"
_HELP = "Type a line; /quit or the end of input ends the chat."


class Chatted(Struct, frozen=True):
    """What a chat came to."""

    turns: int
    tokens: int


@program
async def chat(sys: Sys, name: str | None = None, *, model: str | None = None, quiet: bool = False) -> Chatted:
    """Talks with the model: lines in, streamed answers out.

    With a NAME the conversation can be gone on with later. The model may calculate, look up, recall and remember.
    """
    context = await sys.open(name, model=model, tools=TOOLS, reserve_tokens=ANSWER_TOKENS_MAX)
    memory = await sys.open(MEMORY, model=model)
    tools = Toolbox(sys, context, memory=memory)
    if not quiet:
        print(f"{context.model}: {context.window_tokens} tokens of window. {_HELP}")
    turns = tokens = 0
    while True:
        if not quiet:
            print("> ", end="", flush=True)
        line = await sys.read_line()
        if line is None or line.strip() == "/quit":
            return Chatted(turns, tokens)
        if not line.strip():
            continue
        spoken = await _answer(line, context, tools)
        turns += 1
        tokens += spoken.prompt_tokens + spoken.generated_tokens
        await sys.note("chatting", done=turns)


async def _answer(line: str, context: Context, tools: Toolbox) -> Spoken:
    """One question and its answer, printed as it comes; the tools used are named on a line of their own."""
    await context.append(user(line))
    spoken = await converse(context, tools, on_text=lambda text: print(text, end="", flush=True))
    used = ", ".join(step.tool for step in spoken.steps)
    print(f"  [{used}]" if used else "", flush=True)
    return spoken
