"""The context family, 0x10: conversations, their pages and windows."""

from typing import final

from syscalls.calls.process import Nothing
from syscalls.row import Args, Flag, Needs, Result, Row
from syscalls.turns import ToolCall, ToolSpec, Turn


@final
class Open(Args, frozen=True, kw_only=True):
    """A new context on `model` (None: the caller's default). `name` lets it be found again: the same name of the same
    principal opens what was appended before. `reserve_tokens` is kept free of the window for answers."""

    name: str | None = None
    model: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    reserve_tokens: int = 256


@final
class Opened(Result, frozen=True, kw_only=True):
    """A handle, the caller's own; `version` counts what was appended; `window_tokens` is what the model can see."""

    context: int
    version: int
    window_tokens: int
    model: str


@final
class Append(Args, frozen=True, kw_only=True):
    """Turns for the end of the conversation; with `expect_version`, only if nobody has appended since. With `resident`
    False they go to pages without passing through the window: how documents larger than a window are read in."""

    context: int
    turns: tuple[Turn, ...]
    expect_version: int | None = None
    resident: bool = True


@final
class Appended(Result, frozen=True, kw_only=True):
    """The version after it, and the addresses of the pages it closed."""

    version: int
    pages: tuple[str, ...] = ()


@final
class Generate(Args, frozen=True, kw_only=True):
    """Greedy unless `temperature` > 0; `seed` makes sampling repeat; `stop` strings end it and are left out.

    `clip` lowers `max_tokens` to what the account can pay for instead of EQUOTA. `append` False leaves the answer out
    of the conversation. `deadline_s` from now, queue included.
    """

    context: int
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    clip: bool = False
    append: bool = True
    deadline_s: float | None = None


@final
class Piece(Result, frozen=True, kw_only=True):
    """Some generated text, as soon as it is certain."""

    text: str
    tokens: int = 0


@final
class Usage(Result, frozen=True, kw_only=True):
    """What a generation cost. `cached_tokens` of the prompt were not computed anew; times in seconds."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    cached_tokens: int = 0
    queued_s: float = 0.0
    driver_s: float = 0.0


@final
class Generated(Result, frozen=True, kw_only=True):
    """The turn the model made. `finish` is `stop`, `length`, `stop_string` or `calls`; `pages` were in the window."""

    turn: Turn
    finish: str
    usage: Usage
    version: int = 0
    pages: tuple[str, ...] = ()
    faults: int = 0

    @property
    def text(self) -> str:
        """The turn's text."""
        return self.turn.text

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls the turn makes."""
        return self.turn.calls


@final
class Recall(Args, frozen=True, kw_only=True):
    """The passages nearest to `query`, at most `k`, within `tokens_max` together; with `page_in` they are appended to
    the window as a tool turn that names their sources."""

    context: int
    query: str
    k: int = 3
    tokens_max: int = 1024
    page_in: bool = False


@final
class Passage(Result, frozen=True, kw_only=True):
    """A page found: its address, the turns' text, where it came from, how near in meaning and in words (1 is the
    same)."""

    page: str
    text: str
    source: str = ""
    score: float = 0.0
    resident: bool = False


@final
class Recalled(Result, frozen=True, kw_only=True):
    """Best first; `faults` of them were not resident."""

    passages: tuple[Passage, ...]
    faults: int = 0


@final
class Read(Args, frozen=True, kw_only=True):
    """A page by address (context 0: any page of the caller's principal that it knows the address of)."""

    context: int
    page: str


@final
class PageBody(Result, frozen=True, kw_only=True):
    """The turns of the page, and its canonical bytes: their keyed digest is its address."""

    turns: tuple[Turn, ...]
    body: bytes


@final
class Stat(Args, frozen=True, kw_only=True):
    """Which context."""

    context: int


@final
class ContextInfo(Result, frozen=True, kw_only=True):
    """Sizes in tokens and pages. `evictions` and `faults` since it was opened; `indexed` pages are in the vector
    store."""

    context: int
    name: str
    model: str
    version: int
    turns: int
    pages: int
    resident_pages: int
    resident_tokens: int
    window_tokens: int
    evictions: int
    faults: int
    indexed: int
    refilled_tokens: int = 0


@final
class Fork(Args, frozen=True, kw_only=True):
    """Which context."""

    context: int


@final
class Close(Args, frozen=True, kw_only=True):
    """Which context; a named one can be opened again, an unnamed one is dropped with its pages."""

    context: int


_CTX = "context:{context}"

OPEN = Row(
    0x10, "context.open", Open, Opened, Needs("open", "model:{model}"), Flag.EFFECT | Flag.JOURNALED,
    "Opens a conversation with a model. ENOENT: no such model.",
)  # fmt: skip
APPEND = Row(
    0x11, "context.append", Append, Appended, Needs("append", _CTX), Flag.EFFECT | Flag.JOURNALED,
    "Adds turns; they are on disk when it returns. EBUSY: another version than expected.",
)  # fmt: skip
GENERATE = Row(
    0x12, "context.generate", Generate, Generated, Needs("generate", _CTX), Flag.STREAM | Flag.EFFECT | Flag.JOURNALED,
    "Lets the model speak, streaming. EQUOTA: the account cannot pay the worst case. EWINDOW: tools and the last turn "
    "alone exceed the window.",
    Piece,
)  # fmt: skip
RECALL = Row(
    0x13, "context.recall", Recall, Recalled, Needs("recall", _CTX), Flag.JOURNALED,
    "Finds pages by meaning, also what was appended a moment ago.",
)  # fmt: skip
READ = Row(
    0x14, "context.read", Read, PageBody, Needs("read", _CTX), Flag.IDEMPOTENT | Flag.JOURNALED,
    "A page by its address, byte for byte. ENOENT: no such page of this principal.",
)  # fmt: skip
STAT = Row(
    0x15, "context.stat", Stat, ContextInfo, Needs("stat", _CTX), Flag.INLINE | Flag.IDEMPOTENT, "Sizes and counts."
)
FORK = Row(
    0x16, "context.fork", Fork, Opened, Needs("fork", _CTX), Flag.EFFECT | Flag.JOURNALED,
    "A second conversation that shares all turns so far and copies none.",
)  # fmt: skip
CLOSE = Row(
    0x17, "context.close", Close, Nothing, Needs("close", _CTX), Flag.EFFECT | Flag.JOURNALED, "Gives the handle back."
)  # fmt: skip

ROWS = (OPEN, APPEND, GENERATE, RECALL, READ, STAT, FORK, CLOSE)
