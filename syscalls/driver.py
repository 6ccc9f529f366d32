"""The driver ABI: the calls that the kernel makes to a driver host, over the same frames.

A host serves the devices of one driver. `driver.open` makes a device; everything else names it by the handle that
open gave. Model devices render, generate, score and tokenize; embedding devices embed; stores add, query and delete;
a file host does what `syscalls.filing` says, a fetch broker what `syscalls.fetching` says. A driver refuses with ENOSYS
what it did not declare in `can`.
"""

import struct
from typing import Literal, final

from msgspec import Struct

from syscalls import fetching, filing
from syscalls.row import Args, Flag, Result, Row
from syscalls.turns import ToolCall, ToolSpec, Turn

LEDGER_PAGE = struct.Struct("<2q")
"""How a host keeps its count in the page that it shares with the kernel: tokens read, and generated."""

Kind = Literal["model", "embedding", "store", "files", "fetch"]


@final
class Open(Args, frozen=True, kw_only=True):
    """Make a device of `kind` from `origin` (a folder, a hub name, a URL, a database folder) with the driver's own
    `options`."""

    kind: Kind
    origin: str
    options: dict[str, str] = {}


@final
class Opened(Result, frozen=True, kw_only=True):
    """What it is and what it can do.

    `window_tokens` the model's length; `slots` generations at once; `counts`: `exact` when `render` gives ids,
    `bound` when it can only bound them (then `generate` takes turns). `append_exact`: render(a + b) = render(a) +
    suffix. `template` digests tokenizer and chat template together. `checksum` is sha256 over the files.
    """

    device: int
    can: tuple[str, ...] = ()
    window_tokens: int = 0
    slots: int = 1
    counts: Literal["exact", "bound"] = "exact"
    append_exact: bool = True
    template: str = ""
    checksum: str = ""
    parameters: int = 0
    dimensions: int = 0
    detail: dict[str, str] = {}


@final
class Device(Args, frozen=True, kw_only=True):
    """Which device."""

    device: int


@final
class Render(Args, frozen=True, kw_only=True):
    """Turns and tools to token ids, as the model's chat template lays them out; ends so that the model answers next.

    Of what is more than `ids_max` ids the host answers with `counts` alone: nobody could use them."""

    device: int
    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...] = ()
    ids_max: int | None = None


@final
class Rendered(Result, frozen=True, kw_only=True):
    """`head` (tools and whatever comes first), one segment per turn, `tail` (the opening of the answer). With counts
    `bound`, or beyond `ids_max`, the ids are absent and only `counts` are given: len(turns) + 2 of them, head and tail
    included."""

    head: tuple[int, ...] = ()
    segments: tuple[tuple[int, ...], ...] = ()
    tail: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()


@final
class Sampling(Struct, frozen=True, omit_defaults=True):
    """How to choose tokens. temperature 0 is greedy. Randomness is by (seed, position), so that it resumes exactly."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@final
class Generate(Args, frozen=True, kw_only=True):
    """`prompt` ids (or `turns` and `tools` where counts are `bound`), and the ids in `generated` that an earlier,
    interrupted run already made: they count against max_tokens and are not sent again."""

    device: int
    sampling: Sampling
    prompt: tuple[int, ...] = ()
    generated: tuple[int, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[ToolSpec, ...] = ()


@final
class Tokens(Result, frozen=True, kw_only=True):
    """Newly generated ids, and the text that is certain by now (held back: half a character, a possible stop string,
    the inside of a tool call)."""

    ids: tuple[int, ...] = ()
    text: str = ""


@final
class Finished(Result, frozen=True, kw_only=True):
    """How it ended, the tool calls that the text held (taken out of `text`), the whole text, and what the host
    counted."""

    finish: Literal["stop", "length", "stop_string", "calls"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    prompt_tokens: int = 0
    generated_tokens: int = 0
    cached_tokens: int = 0


@final
class Tokenize(Args, frozen=True, kw_only=True):
    """Plain text to ids: no chat template, nothing added. Names of special tokens in it stand for those tokens."""

    device: int
    text: str


@final
class Tokenized(Result, frozen=True, kw_only=True):
    """The ids of the text."""

    ids: tuple[int, ...]


@final
class Detokenize(Args, frozen=True, kw_only=True):
    """Ids to the text that they are, special tokens by name."""

    device: int
    ids: tuple[int, ...]


@final
class Detokenized(Result, frozen=True, kw_only=True):
    """The text of the ids; a broken character is U+FFFD."""

    text: str


@final
class Score(Args, frozen=True, kw_only=True):
    """How likely each of `continuations` is after `prompt`: ids, or with counts `bound` the same as `texts` after
    `prompt_text`. Each is asked for alone: none sees another. Nothing comes before the first token of a text, so there
    must be a prompt."""

    device: int
    prompt: tuple[int, ...] = ()
    continuations: tuple[tuple[int, ...], ...] = ()
    prompt_text: str = ""
    texts: tuple[str, ...] = ()


@final
class TokenScore(Result, frozen=True, kw_only=True):
    """One token of a continuation: its natural log-probability after all before it, and whether no other was likelier.
    `id` is -1 where the driver has none."""

    logprob: float
    greedy: bool
    id: int = -1
    text: str = ""


@final
class Scored(Result, frozen=True, kw_only=True):
    """The tokens of each continuation, in order. `prompt_tokens` were read in all, prompts again for each continuation;
    `cached_tokens` of them were not computed anew."""

    scores: tuple[tuple[TokenScore, ...], ...]
    prompt_tokens: int = 0
    cached_tokens: int = 0


@final
class Embed(Args, frozen=True, kw_only=True):
    """Texts to embed."""

    device: int
    texts: tuple[str, ...]


@final
class Embedded(Result, frozen=True, kw_only=True):
    """Unit vectors, little-endian float32, one after another; tokens read."""

    dimensions: int
    vectors: bytes
    tokens: int = 0


@final
class StoreAdd(Args, frozen=True, kw_only=True):
    """Insert or replace: one id per vector of `dimensions` float32; nothing else is stored."""

    device: int
    collection: str
    ids: tuple[str, ...]
    vectors: bytes


@final
class StoreQuery(Args, frozen=True, kw_only=True):
    """The `k` nearest of `collection` to one vector, among `only` if given."""

    device: int
    collection: str
    vector: bytes
    k: int
    only: tuple[str, ...] | None = None


@final
class StoreHits(Result, frozen=True, kw_only=True):
    """Ids and cosine similarities, best first."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]


@final
class StoreDelete(Args, frozen=True, kw_only=True):
    """Delete these ids, or with None the whole collection."""

    device: int
    collection: str
    ids: tuple[str, ...] | None = None


@final
class StoreIds(Args, frozen=True, kw_only=True):
    """All ids of a collection: what the kernel compares with the truth after a restart."""

    device: int
    collection: str


@final
class Ids(Result, frozen=True, kw_only=True):
    """Ids."""

    ids: tuple[str, ...]


@final
class StoreSize(Args, frozen=True, kw_only=True):
    """How much room a collection takes, or what there is of `ids` in it. To ask is not to have been told of a loss."""

    device: int
    collection: str
    ids: tuple[str, ...] | None = None


@final
class Sized(Result, frozen=True, kw_only=True):
    """Bytes: the ids as UTF-8, and four for each number of each vector; what a store needs besides is its affair."""

    bytes: int


@final
class Ledger(Result, frozen=True, kw_only=True):
    """What this host has done since it started, counted by itself: the check on the kernel's accounts."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    embedded_tokens: int = 0
    generations: int = 0
    cancelled: int = 0


@final
class Done(Result, frozen=True, kw_only=True):
    """No result."""


@final
class Nothing(Args, frozen=True, kw_only=True):
    """No arguments."""


OPEN = Row(0x00, "driver.open", Open, Opened, None, Flag.IDEMPOTENT, "Makes a device.")
CLOSE = Row(0x01, "driver.close", Device, Done, None, Flag.IDEMPOTENT, "Drops a device.")
LEDGER = Row(0x02, "driver.ledger", Nothing, Ledger, None, Flag.IDEMPOTENT, "The host's own count.")
RENDER = Row(0x10, "model.render", Render, Rendered, None, Flag.IDEMPOTENT, "Turns to ids.")
GENERATE = Row(
    0x11, "model.generate", Generate, Finished, None, Flag.STREAM | Flag.IDEMPOTENT, "Generates, streaming.", Tokens
)
EMBED = Row(0x12, "model.embed", Embed, Embedded, None, Flag.IDEMPOTENT, "Texts to vectors.")
TOKENIZE = Row(0x13, "model.tokenize", Tokenize, Tokenized, None, Flag.IDEMPOTENT, "Text to ids.")
DETOKENIZE = Row(0x14, "model.detokenize", Detokenize, Detokenized, None, Flag.IDEMPOTENT, "Ids to text.")
SCORE = Row(0x15, "model.score", Score, Scored, None, Flag.IDEMPOTENT, "Log-probabilities of given continuations.")
ADD = Row(0x20, "store.add", StoreAdd, Done, None, Flag.IDEMPOTENT, "Inserts or replaces vectors.")
QUERY = Row(0x21, "store.query", StoreQuery, StoreHits, None, Flag.IDEMPOTENT, "Nearest neighbours.")
DELETE = Row(0x22, "store.delete", StoreDelete, Done, None, Flag.IDEMPOTENT, "Deletes.")
IDS = Row(0x23, "store.ids", StoreIds, Ids, None, Flag.IDEMPOTENT, "All ids.")
SIZE = Row(0x24, "store.size", StoreSize, Sized, None, Flag.IDEMPOTENT, "How much room vectors take.")

TABLE: dict[int, Row] = {
    row.number: row
    for row in (
        OPEN, CLOSE, LEDGER, RENDER, GENERATE, EMBED, TOKENIZE, DETOKENIZE, SCORE, ADD, QUERY, DELETE, IDS, SIZE,
        *filing.ROWS, *fetching.ROWS,
    )
}  # fmt: skip
