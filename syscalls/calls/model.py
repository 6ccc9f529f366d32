"""The model family, 0x20: what can be asked to generate, embed, score and tokenize."""

from typing import Annotated, final

from msgspec import Meta

from syscalls.calls.context import Generated, Piece, Usage
from syscalls.driver import TokenScore
from syscalls.errors import Errno
from syscalls.row import MANY, Args, Flag, Needs, Result, Row, Says
from syscalls.turns import ToolSpec, Turns


@final
class ListModels(Args, frozen=True, kw_only=True):
    """No arguments."""


@final
class ModelInfo(Result, frozen=True, kw_only=True):
    """A registered model. `ref` is NAME@VERSION, `checksum` over its files (sha256), `origin` where it came from;
    `can` what its driver declared: `generate`, `embed`, `score`, `tokenize`, `stream`, `seed`, `stop`, `tools`,
    `resume-exact`, … `state` is `idle` while no host serves it (it starts with the next call), else `starting`,
    `ready`, `restarting` or `failed`."""

    ref: str
    driver: str
    origin: str
    checksum: str = ""
    can: tuple[str, ...] = ()
    window_tokens: int = 0
    parameters: int = 0
    slots: int = 0
    state: str = "idle"
    default: bool = False


@final
class Models(Result, frozen=True, kw_only=True):
    """All registered models."""

    models: tuple[ModelInfo, ...]


@final
class ModelName(Args, frozen=True, kw_only=True):
    """NAME or NAME@VERSION; the newest version where none is given."""

    model: str


@final
class AddModel(Args, frozen=True, kw_only=True):
    """Registers what `origin` (a folder, a hub name, or an http(s) URL of an OpenAI-compatible server) holds as `name`.

    `driver` None: chosen from the origin. The version counts up when the checksum differs. `options` go to the driver
    (`remote_name`, `credential_file`, `dtype`).
    """

    name: str
    origin: str
    driver: str | None = None
    options: Annotated[dict[str, str], MANY] = {}


@final
class OneShot(Args, frozen=True, kw_only=True):
    """A generation without a context: `turns` in, one turn out, nothing kept."""

    turns: Turns
    model: str | None = None
    tools: Annotated[tuple[ToolSpec, ...], MANY] = ()
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: Annotated[tuple[str, ...], MANY] = ()
    clip: bool = False
    deadline_s: float | None = None


@final
class Embed(Args, frozen=True, kw_only=True):
    """Texts to embed, with the default embedding model unless `model` names one."""

    texts: Annotated[tuple[str, ...], MANY]
    model: str | None = None


@final
class Embedded(Result, frozen=True, kw_only=True):
    """One unit vector of `dimensions` little-endian float32 per text, one after another."""

    dimensions: int
    vectors: bytes


@final
class Score(Args, frozen=True, kw_only=True):
    """How likely each of `continuations` (text, or token ids) is: after `prompt`, plain text without a chat template,
    or as the answer to `turns`. Each stands alone: none sees another. Exactly one of `prompt` and `turns`."""

    continuations: Annotated[tuple[str | Annotated[tuple[int, ...], Meta(max_length=8192)], ...], MANY]
    prompt: str = ""
    turns: Turns = ()
    tools: Annotated[tuple[ToolSpec, ...], MANY] = ()
    model: str | None = None
    deadline_s: float | None = None


@final
class Continuation(Result, frozen=True, kw_only=True):
    """The score of one continuation: `logprob` is the sum over its tokens (natural logarithm), `greedy` whether greedy
    decoding would have said just this."""

    logprob: float
    greedy: bool
    tokens: tuple[TokenScore, ...]


@final
class Scored(Result, frozen=True, kw_only=True):
    """In the order asked. `prompt_tokens` of the usage counts the prompt once for each continuation, as charged."""

    continuations: tuple[Continuation, ...]
    usage: Usage


@final
class Tokenize(Args, frozen=True, kw_only=True):
    """Exactly one of: `text` (plain, nothing added), `turns` (with `tools`, as the chat template lays them out, the
    opening of the answer included), or `ids` (to text)."""

    text: str | None = None
    turns: Turns = ()
    tools: Annotated[tuple[ToolSpec, ...], MANY] = ()
    ids: Annotated[tuple[int, ...], MANY] | None = None
    model: str | None = None


@final
class Tokenized(Result, frozen=True, kw_only=True):
    """How many tokens, and which. `exact` False: the model's driver has no tokenizer; `count` is an upper bound and
    `ids` is empty, as it is where they are more than a million. `text` only where ids were asked for."""

    count: int
    ids: tuple[int, ...] = ()
    text: str = ""
    exact: bool = True


@final
class Unload(Args, frozen=True, kw_only=True):
    """Waits up to `timeout_s` (None: for ever) for the calls under way; what comes meanwhile waits until the model is
    gone and loads it again. `force` ends what is still under way then with ECANCELED."""

    model: str
    timeout_s: float | None = 0.0
    force: bool = False


LIST = Row(
    0x20,
    "model.list",
    ListModels,
    Models,
    Needs("list", "model:*"),
    Flag.INLINE | Flag.IDEMPOTENT,
    "All registered models.",
)
INFO = Row(
    0x21,
    "model.info",
    ModelName,
    ModelInfo,
    Needs("info", "model:{model}"),
    Flag.INLINE | Flag.IDEMPOTENT,
    "One model.",
    says=Says(
        errors=((Errno.ENOENT, "no such model; the message lists what is registered."),),
    ),
)
ADD = Row(
    0x22,
    "model.add",
    AddModel,
    ModelInfo,
    Needs("add", "kernel:models"),
    Flag.EFFECT,
    "Registers a model after its driver has read it.",
    says=Says(
        waits="For the driver to read the whole of it, minutes for large weights.",
        cancelled="Nothing is registered.",
        errors=(
            (Errno.EINVAL, "the name is no name, or what is wrong with the folder, as its driver says it."),
            (Errno.ENOENT, "there is nothing at the origin, or no such driver."),
            (Errno.EAGAIN, "its host did not come up in time."),
            (Errno.EIO, "its host died, or the disk did not take it."),
        ),
    ),
)
GENERATE = Row(
    0x23,
    "model.generate",
    OneShot,
    Generated,
    Needs("generate", "model:{model}"),
    Flag.STREAM | Flag.EFFECT | Flag.JOURNALED,
    "One generation without a context.",
    Piece,
    says=Says(
        waits=(
            "For a seat at the model's device and for the driver; at most deadline_s. It never waits for its reader."
        ),
        cancelled="The driver stops at its next step; what it did is charged.",
        costs=(
            "Prompt and generated tokens as the driver counts them, the time in the driver, and money by the price "
            "table. The worst case is held before, on the account and all above it; time, where it is limited, a "
            "second ahead of its use."
        ),
        errors=(
            (
                Errno.EQUOTA,
                "the account, or one above it, cannot pay the worst case (clip lowers max_tokens instead), or its "
                "generation time ran out; what was done is charged.",
            ),
            (Errno.EWINDOW, "the turns exceed the window."),
            (Errno.EINVAL, "a number is out of range, or there are no turns."),
            (Errno.ENOENT, "no such model."),
            (Errno.EAGAIN, "the queue of the device is full (bounds.queue_max), or its model did not come up in time."),
            (Errno.ETIME, "the answer was not there in deadline_s; what was done is charged."),
            (Errno.EPIPE, "the reader left more items untaken than are kept for it."),
            (Errno.EUNKNOWN, "the driver's host died in mid-answer and cannot resume it."),
            (Errno.EIO, "the model cannot be loaded, or hosts died over this answer."),
        ),
    ),
)
EMBED = Row(
    0x24,
    "model.embed",
    Embed,
    Embedded,
    Needs("embed", "model:{model}"),
    Flag.IDEMPOTENT | Flag.JOURNALED,
    "Vectors for texts.",
    says=Says(
        waits="For the embedding model.",
        cancelled="Nothing is kept; the batches that were done are charged.",
        costs="Tokens as the embedding model counts them; the worst case is held before.",
        errors=(
            (Errno.EINVAL, "no texts, or more than 4096."),
            (Errno.ENOENT, "that model does not embed."),
            (Errno.EQUOTA, "the account, or one above it, cannot pay the worst case."),
            (Errno.EAGAIN, "the embedding model did not come up in time."),
            (Errno.EIO, "the embedding model cannot be loaded, or hosts died over this call."),
        ),
    ),
)
SCORE = Row(
    0x25, "model.score", Score, Scored, Needs("score", "model:{model}"), Flag.IDEMPOTENT | Flag.JOURNALED,
    "How likely given continuations are: log-probabilities token by token.",
    says=Says(
        waits="For a seat on the model, then for the model.",
        cancelled="Nothing is left behind; the tokens that the driver was given are charged.",
        costs="Tokens as a prompt: prompt and continuation, for each continuation; held before, settled after.",
        errors=(
            (Errno.ENOENT, "there is no such model."),
            (Errno.ENOSYS, "the model's driver cannot score, or not turns, or not ids."),
            (
                Errno.EINVAL,
                "an empty or unknown continuation, one of more than 8192 ids, more than 256 or of 131072 tokens, "
                "or both or neither of prompt and turns.",
            ),
            (Errno.EWINDOW, "prompt and continuation exceed the model's window."),
            (Errno.EQUOTA, "the account cannot pay for it."),
            (Errno.EAGAIN, "too many wait for the model, or it does not come up."),
            (Errno.ETIME, "deadline_s passed, the wait for a seat included."),
            (Errno.EIO, "the model cannot be loaded, or the disk does not take what it cost."),
        ),
    ),
)  # fmt: skip
TOKENIZE = Row(
    0x26, "model.tokenize", Tokenize, Tokenized, Needs("tokenize", "model:{model}"), Flag.IDEMPOTENT | Flag.JOURNALED,
    "Text or turns to tokens, or tokens to text.",
    says=Says(
        waits="For the model to be loaded.",
        cancelled="Nothing is left behind.",
        errors=(
            (Errno.ENOENT, "there is no such model."),
            (Errno.ENOSYS, "ids cannot be turned to text: the model's driver has no tokenizer."),
            (Errno.EINVAL, "not exactly one of text, turns and ids; ids that are none; a text that is too long."),
            (Errno.EAGAIN, "the model does not come up."),
        ),
    ),
)  # fmt: skip
LOAD = Row(
    0x27, "model.load", ModelName, ModelInfo, Needs("load", "model:{model}"), Flag.IDEMPOTENT | Flag.EFFECT,
    "Starts the host of a model and waits until it is ready; a model that is loaded stays so.",
    says=Says(
        waits="Until the model is loaded.",
        cancelled="The model goes on loading.",
        errors=(
            (Errno.ENOENT, "there is no such model, or its files are gone."),
            (Errno.EINVAL, "what its files lack, in the driver's words."),
            (Errno.EAGAIN, "it did not come up within host_ready_s."),
        ),
    ),
)  # fmt: skip
UNLOAD = Row(
    0x28, "model.unload", Unload, ModelInfo, Needs("unload", "kernel:models"), Flag.EFFECT,
    "Ends the host of a model, which frees its memory; the next call that needs the model loads it again.",
    says=Says(
        waits="For the calls under way, up to timeout_s, then for the host's end.",
        cancelled="While it waits: the model stays loaded.",
        errors=(
            (Errno.ENOENT, "there is no such model."),
            (Errno.EBUSY, "calls are under way, or somebody else is unloading it."),
        ),
    ),
)  # fmt: skip

ROWS = (LIST, INFO, ADD, GENERATE, EMBED, SCORE, TOKENIZE, LOAD, UNLOAD)
