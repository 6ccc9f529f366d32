"""How a new package is laid out, whatever it holds."""

from collections.abc import Mapping
from pathlib import Path

from syscalls.errors import Busy, Invalid
from syscalls.package import normal_name


def begin(folder: Path, texts: Mapping[str, str], **values: str) -> list[Path]:
    """Writes `texts`, by their paths, into `folder`, which is new or empty; the files. In paths and texts `{name}` is
    that of the package, `{module}` that of its module, and `values` are theirs. Raises Busy (EBUSY) for a folder that
    is not empty, Invalid for a name that no package can have."""
    name = normal_name(folder.absolute().name)
    module = name.replace("-", "_")
    if not module.isidentifier() or not name.isascii():
        raise Invalid(f"{folder.name!r}: a package is called by letters, digits and '-', a letter first")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Busy(f"{folder} is there and not empty: choose another")
    values |= {"name": name, "module": module}
    made = {folder / path.format(**values): text.format(**values) for path, text in texts.items()}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(made)
