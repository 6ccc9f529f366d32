"""The model family, 0x20: what can be asked to generate or embed."""

from typing import final

from syscalls.calls.context import Generated, Piece
from syscalls.row import Args, Flag, Needs, Result, Row
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
)
ADD = Row(
    0x22, "model.add", AddModel, ModelInfo, Needs("add", "kernel:models"), Flag.EFFECT,
    "Registers a model after its driver has read it. EINVAL says what is wrong with the folder.",
)  # fmt: skip
GENERATE = Row(
    0x23, "model.generate", OneShot, Generated, Needs("generate", "model:{model}"),
    Flag.STREAM | Flag.EFFECT | Flag.JOURNALED, "One generation without a context.", Piece,
)  # fmt: skip
EMBED = Row(
    0x24, "model.embed", Embed, Embedded, Needs("embed", "model:{model}"), Flag.IDEMPOTENT | Flag.JOURNALED,
    "Vectors for texts.",
)  # fmt: skip

ROWS = (LIST, INFO, ADD, GENERATE, EMBED)
