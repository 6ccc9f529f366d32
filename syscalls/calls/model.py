"""The model family, 0x20: what can be asked to generate or embed."""

from typing import final

from syscalls.calls.context import Generated, Piece
from syscalls.errors import Errno
from syscalls.row import Args, Flag, Needs, Result, Row, Says
from syscalls.turns import ToolSpec, Turn


@final
class ListModels(Args, frozen=True, kw_only=True):
    """No arguments."""


@final
class ModelInfo(Result, frozen=True, kw_only=True):
    """A registered model. `ref` is NAME@VERSION, `checksum` over its files (sha256), `origin` where it came from;
    `can` what its driver declared: `generate`, `embed`, `stream`, `seed`, `stop`, `tools`, `resume-exact`, …"""

    ref: str
    driver: str
    origin: str
    checksum: str = ""
    can: tuple[str, ...] = ()
    window_tokens: int = 0
    parameters: int = 0
    slots: int = 0
    state: str = "registered"
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
    options: dict[str, str] = {}


@final
class OneShot(Args, frozen=True, kw_only=True):
    """A generation without a context: `turns` in, one turn out, nothing kept."""

    turns: tuple[Turn, ...]
    model: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    clip: bool = False
    deadline_s: float | None = None


@final
class Embed(Args, frozen=True, kw_only=True):
    """Texts to embed, with the default embedding model unless `model` names one."""

    texts: tuple[str, ...]
    model: str | None = None


@final
class Embedded(Result, frozen=True, kw_only=True):
    """One unit vector of `dimensions` little-endian float32 per text, one after another."""

    dimensions: int
    vectors: bytes


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
            "Prompt and generated tokens as the driver counts them. The worst case is held before, on the account "
            "and all above it."
        ),
        errors=(
            (Errno.EQUOTA, "the account, or one above it, cannot pay the worst case; clip lowers max_tokens instead."),
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

ROWS = (LIST, INFO, ADD, GENERATE, EMBED)
