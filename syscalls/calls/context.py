"""The context family, 0x10: conversations, their pages and windows."""

from typing import Annotated, Literal, final

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import MANY, Args, Flag, Needs, Result, Row, Says
from syscalls.turns import ToolCall, ToolSpec, Turn, Turns


@final
class Open(Args, frozen=True, kw_only=True):
    """A new context on `model` (None: the caller's default). `name` lets it be found again: the same name of the same
    principal opens what was appended before. `reserve_tokens` is kept free of the window for answers."""

    name: str | None = None
    model: str | None = None
    tools: Annotated[tuple[ToolSpec, ...], MANY] = ()
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
    turns: Turns
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
    stop: Annotated[tuple[str, ...], MANY] = ()
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
    pinned_tokens: int = 0


@final
class Fork(Args, frozen=True, kw_only=True):
    """Which context."""

    context: int


@final
class Close(Args, frozen=True, kw_only=True):
    """Which context; a named one can be opened again, an unnamed one is dropped with its pages."""

    context: int


Advice = Literal["willneed", "dontneed", "pin", "normal"]


@final
class Advise(Args, frozen=True, kw_only=True):
    """What is to become of pages of the context, as in madvise.

    `pin`: they stay in the window, paged in if they are not there, until `normal` or the context's last handle.
    `willneed`: they are paged in now, so that the next generation sees them. `dontneed`: they leave the window before
    any other. `normal` takes back `pin` and `dontneed`, of all pages where none are given.
    """

    context: int
    advice: Advice
    pages: Annotated[tuple[str, ...], MANY] = ()


@final
class Advised(Result, frozen=True, kw_only=True):
    """What really happened: the pages that the advice holds for now, those of them that had to be paged in, and the
    tokens of the window that all pinned pages take."""

    pages: tuple[str, ...]
    paged_in: tuple[str, ...] = ()
    pinned_tokens: int = 0


@final
class Save(Args, frozen=True, kw_only=True):
    """The name by which the conversation is to be found again; one that had another name is renamed."""

    context: int
    name: str


@final
class Saved(Result, frozen=True, kw_only=True):
    """Under which name, at which version."""

    name: str
    version: int


@final
class ListContexts(Args, frozen=True, kw_only=True):
    """The named contexts of the caller's principal, by name: those after `after`, at most `limit`; or `name` alone."""

    after: str = ""
    limit: int = 100
    name: str | None = None


@final
class NamedContext(Result, frozen=True, kw_only=True):
    """A context that can be opened by its name. `bytes` of turns as they are paid for; `handles` that processes hold on
    it now."""

    name: str
    model: str
    version: int
    turns: int
    pages: int
    bytes: int
    handles: int = 0


@final
class Contexts(Result, frozen=True, kw_only=True):
    """Sorted by name. `more`: there are others; ask again with `after` the last."""

    contexts: tuple[NamedContext, ...]
    more: bool = False


@final
class Forget(Args, frozen=True, kw_only=True):
    """Which of the caller's principal's named contexts."""

    name: str


_CTX = "context:{context}"

OPEN = Row(
    0x10,
    "context.open",
    Open,
    Opened,
    Needs("open", "model:{model}"),
    Flag.EFFECT | Flag.JOURNALED,
    "Opens a conversation with a model.",
    says=Says(
        waits="For the model to be loaded, and for the disk.",
        cancelled="A named context stays as it was; of an unnamed one nothing stays once the caller has ended.",
        errors=(
            (Errno.ENOENT, "no such model; the message lists what is registered."),
            (Errno.EINVAL, "the name is no name, or reserve_tokens leaves no window."),
            (Errno.EBUSY, "the named context is open with another model."),
            (Errno.EAGAIN, "bounds.contexts_max contexts are open, or the model did not come up in time."),
            (Errno.EQUOTA, "the account, or one above it, may have no more contexts open."),
            (Errno.EIO, "the model cannot be loaded, or the disk failed."),
        ),
    ),
)
APPEND = Row(
    0x11,
    "context.append",
    Append,
    Appended,
    Needs("append", _CTX),
    Flag.EFFECT | Flag.JOURNALED,
    "Adds turns; they are on disk when it returns.",
    says=Says(
        waits="For the disk, and for whoever writes to the same context.",
        cancelled="Either all turns were added or none: the version tells.",
        costs="The bytes of the turns, until the context is dropped; pages, windows and forks cost no more.",
        errors=(
            (Errno.EBUSY, "the context is at another version than expect_version."),
            (Errno.EINVAL, "a turn has no parts, or there are more than 8192 turns, or 32768 parts of them all."),
            (Errno.ENOENT, "there is no such context, or it was closed meanwhile."),
            (Errno.EQUOTA, "the account, or one above it, may not store so many bytes more; nothing was added."),
            (Errno.EWINDOW, "system turns, which are never evicted, that can never fit the window."),
            (Errno.EIO, "the disk did not take it; nothing was added."),
        ),
    ),
)
GENERATE = Row(
    0x12,
    "context.generate",
    Generate,
    Generated,
    Needs("generate", _CTX),
    Flag.STREAM | Flag.EFFECT | Flag.JOURNALED,
    "Lets the model speak, streaming.",
    Piece,
    says=Says(
        waits=(
            "For the context's other generation, for a seat at the model's device, and for the driver; at "
            "most deadline_s. It never waits for its reader."
        ),
        cancelled="The driver stops at its next step; what it did is charged; the conversation is as it was before.",
        costs=(
            "Prompt and generated tokens as the driver counts them, the time in the driver, and money by the price "
            "table. The worst case (prompt and max_tokens) is held before, on the account and all above it; time, "
            "where it is limited, a second ahead of its use. The answer's bytes are stored."
        ),
        errors=(
            (
                Errno.EQUOTA,
                "the account, or one above it, cannot pay the worst case (clip lowers max_tokens instead); its "
                "generation time ran out; or it may not store the answer. What was done is charged.",
            ),
            (Errno.EWINDOW, "tools, system turns and the last turn alone exceed the window."),
            (Errno.EINVAL, "a number is out of range, or the context is empty."),
            (Errno.ENOENT, "there is no such context, or its model is gone."),
            (Errno.EAGAIN, "the queue of the device is full (bounds.queue_max), or its model did not come up in time."),
            (Errno.ETIME, "the answer was not there in deadline_s; what was done is charged."),
            (Errno.EPIPE, "the reader left more items untaken than are kept for it."),
            (Errno.EUNKNOWN, "the driver's host died in mid-answer and cannot resume it."),
            (Errno.EIO, "hosts died over this answer, or the disk did not take it."),
        ),
    ),
    also=Needs("generate", "model:{context}"),
)
RECALL = Row(
    0x13,
    "context.recall",
    Recall,
    Recalled,
    Needs("recall", _CTX),
    Flag.JOURNALED,
    "Finds pages by meaning, also what was appended a moment ago.",
    says=Says(
        waits="For the embedding model, the store and the disk; where they are away it finds by words.",
        cancelled="Nothing is paged in; pages that were closed for it stay so.",
        costs="The tokens of the query, as the embedding model counts them.",
        errors=(
            (
                Errno.EINVAL,
                "the query is empty or of more than 32768 characters, k is not 1 to 100, or tokens_max is below 1.",
            ),
            (Errno.ENOENT, "there is no such context, or it was closed meanwhile."),
            (Errno.EQUOTA, "the account cannot pay the query."),
            (Errno.EIO, "a page cannot be read."),
        ),
    ),
)
READ = Row(
    0x14,
    "context.read",
    Read,
    PageBody,
    Needs("read", _CTX),
    Flag.IDEMPOTENT | Flag.JOURNALED,
    "A page by its address, byte for byte.",
    says=Says(
        waits="For the disk.",
        cancelled="Nothing changes.",
        errors=(
            (Errno.ENOENT, "no such page of this principal, or not in this context."),
            (Errno.EIO, "the page does not open with the principal's key."),
        ),
    ),
)
STAT = Row(
    0x15,
    "context.stat",
    Stat,
    ContextInfo,
    Needs("stat", _CTX),
    Flag.INLINE | Flag.IDEMPOTENT,
    "Sizes and counts.",
    says=Says(
        errors=((Errno.ENOENT, "there is no such context."),),
    ),
)
FORK = Row(
    0x16,
    "context.fork",
    Fork,
    Opened,
    Needs("fork", _CTX),
    Flag.EFFECT | Flag.JOURNALED,
    "A second conversation that shares all turns so far and copies none.",
    says=Says(
        waits="For the disk, and for whoever writes to the same context.",
        cancelled="The parent is as it was; of the fork nothing stays once the caller has ended.",
        errors=(
            (Errno.ENOENT, "there is no such context."),
            (Errno.EAGAIN, "bounds.contexts_max contexts are open."),
            (Errno.EQUOTA, "the account, or one above it, may have no more contexts open."),
            (Errno.EIO, "the disk did not take it."),
        ),
    ),
)
CLOSE = Row(
    0x17,
    "context.close",
    Close,
    Nothing,
    Needs("close", _CTX),
    Flag.EFFECT | Flag.JOURNALED,
    "Gives the handle back; an unnamed conversation that nobody holds is dropped with its pages.",
    says=Says(
        waits="For the disk.",
        cancelled="The handle is given back all the same.",
        errors=(
            (Errno.ENOENT, "there is no such context."),
            (Errno.EIO, "the disk did not take it; the pages go at the next boot."),
        ),
    ),
)
ADVISE = Row(
    0x18,
    "context.advise",
    Advise,
    Advised,
    Needs("advise", _CTX),
    Flag.EFFECT | Flag.JOURNALED,
    "Says which pages will be needed, which not, and which must stay in the window.",
    says=Says(
        waits="For the disk, for the model that counts what is paged in, and for whoever writes to the same context.",
        cancelled="Nothing has changed.",
        errors=(
            (Errno.ENOENT, "there is no such context, or a page is not in it."),
            (Errno.EINVAL, "no pages are given, or more than 256."),
            (Errno.EWINDOW, "what is pinned would take more than half of the window that a prompt has."),
            (Errno.EIO, "a page cannot be read."),
        ),
    ),
)
SAVE = Row(
    0x19,
    "context.save",
    Save,
    Saved,
    Needs("save", _CTX),
    Flag.EFFECT | Flag.JOURNALED,
    "Gives the conversation a name, so that it outlives its processes and can be opened again.",
    says=Says(
        waits="For the disk, and for whoever writes to the same context.",
        cancelled="It has the name or it has not: a save again tells.",
        errors=(
            (Errno.ENOENT, "there is no such context, or it was closed meanwhile."),
            (Errno.EINVAL, "the name is no name."),
            (Errno.EBUSY, "another context of the principal goes by that name."),
            (Errno.EIO, "the disk did not take it; it has the name it had."),
        ),
    ),
)
LIST = Row(
    0x1A,
    "context.list",
    ListContexts,
    Contexts,
    Needs("list", "context:*"),
    Flag.IDEMPOTENT | Flag.JOURNALED,
    "The named contexts of the caller's principal, a page of them at a time.",
    says=Says(
        waits="For the disk.",
        cancelled="Nothing changes.",
        errors=((Errno.EINVAL, "the limit is not 1 to 1000."), (Errno.EIO, "the disk failed.")),
    ),
)
FORGET = Row(
    0x1B,
    "context.forget",
    Forget,
    Nothing,
    Needs("forget", "context:{name}"),
    Flag.EFFECT | Flag.JOURNALED,
    "Forgets a named context, and those of its pages that are in no other; they can be read from nowhere after.",
    says=Says(
        waits="For the disk.",
        cancelled="It is forgotten whole, or not at all.",
        errors=(
            (Errno.ENOENT, "no context of the principal has that name."),
            (Errno.EBUSY, "a process holds it, or a fork of it."),
            (Errno.EIO, "the disk did not take it; nothing is forgotten."),
        ),
    ),
)

ROWS = (OPEN, APPEND, GENERATE, RECALL, READ, STAT, FORK, CLOSE, ADVISE, SAVE, LIST, FORGET)
