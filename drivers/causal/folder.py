"""A model's folder: where it is, whether it is whole, and its checksum; read before torch is imported."""

import hashlib
import json
from pathlib import Path
from typing import Any

from syscalls.errors import Invalid, NotFound

SHIPPED = "kernos-tiny"
WEIGHTS_INDEX = "model.safetensors.index.json"
READ_SUFFIXES = frozenset({".json", ".safetensors", ".bin", ".txt", ".model", ".jinja"})
TOKENIZER_NAMES = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "chat_template", "spiece")
READ_BYTES = 1 << 20


def find_folder(origin: str) -> tuple[Path, bool]:
    """The folder of `origin` and whether it is a local one: a path, `kernos-tiny` (the model that ships), or a hub
    name, from the hub's cache if it is there. Raises NotFound that says what to give instead."""
    if origin == SHIPPED:
        origin = str(Path(__file__).parents[1] / "tiny" / SHIPPED)
    path = Path(origin).expanduser()
    if path.is_dir():
        return path, True
    if path.is_file():
        raise Invalid(f"{origin} is a file: give the folder that holds config.json and the weights")
    if origin.startswith(("/", ".", "~")) or origin.count("/") > 1 or path.name == SHIPPED:
        raise NotFound(f"no model folder {origin}: give a folder with config.json, or a hub name (OWNER/NAME)")
    return _from_hub(origin), False


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception:  # what the hub's client raises for "not here" differs by version; the next line tells for good
        pass
    try:
        return Path(snapshot_download(name, ignore_patterns=["*.gguf", "*.onnx", "*.h5", "*.msgpack", "*.pth"]))
    except Exception as failed:
        said = str(failed).strip().splitlines()
        raise NotFound(
            f"no folder {name}, and the hub did not give it ({type(failed).__name__}: {said[0] if said else ''}): "
            "give a local folder, or a hub name while online"
        ) from None


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as a map. Raises NotFound or Invalid."""
    path = folder / "config.json"
    if not path.is_file():
        raise NotFound(f"{folder} holds no config.json: give the folder of a Hugging Face model")
    try:
        found = json.loads(path.read_text())
    except (ValueError, OSError) as bad:
        raise Invalid(f"{path} cannot be read ({bad}): copy the model again") from None
    if not isinstance(found, dict):
        raise Invalid(f"{path} is not a JSON object: copy the model again")
    return found


def check_weights(folder: Path) -> None:
    """Raises NotFound when there are no weights, Invalid when a file is truncated, corrupt or missing from its
    index."""
    shards = _shards(folder)
    for shard in shards:
        if not shard.is_file():
            raise NotFound(f"{folder} lacks {shard.name}, which {WEIGHTS_INDEX} names: copy the model again")
        _check_safetensors(shard)


def _shards(folder: Path) -> list[Path]:
    index = folder / WEIGHTS_INDEX
    if index.is_file():
        try:
            return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        except (ValueError, KeyError, AttributeError, TypeError):
            raise Invalid(f"{index} is not a weights index: copy the model again") from None
    found = sorted(folder.glob("*.safetensors"))
    if not found and not list(folder.glob("pytorch_model*.bin")):
        raise NotFound(f"{folder} holds no weights: give a folder with *.safetensors")
    return found


def _check_safetensors(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = int.from_bytes(file.read(8), "little")
        if size < 8 or head > size - 8:
            raise Invalid(f"{path} is truncated or no safetensors file ({size} bytes): copy it again")
        try:
            header = json.loads(file.read(head))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise Invalid(f"{path} has a corrupt header: copy it again") from None
    whole = 8 + head + max(ends, default=0)
    if size != whole:
        raise Invalid(f"{path} is {size} bytes where its header says {whole}: it is truncated, copy it again")


def checksum(folder: Path) -> str:
    """sha256 over the names and contents of the files that loading reads."""
    return _digest(path for path in _files(folder))


def tokenizer_digest(folder: Path, template: str) -> str:
    """sha256 over the tokenizer's files and the chat template in use."""
    files = [path for path in _files(folder) if path.name.startswith(TOKENIZER_NAMES)]
    return hashlib.sha256((_digest(files) + template).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in READ_SUFFIXES]


def _digest(files: Any) -> str:
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            part = hashlib.file_digest(file, "sha256")
        whole.update(part.digest())
    return whole.hexdigest()
