"""How a new package is laid out, whatever it holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from syscalls.errors import Busy, Invalid
from syscalls.package import normal_name

PROJECT: Final = """\
[build-system]
requires = ["kernos"]
build-backend = "kernos.build"

[project]
name = "{name}"
version = "0.1.0"
description = "{what}"
requires-python = ">=3.11"
dependencies = []

"""


def begin(folder: Path, adds: str, texts: Mapping[str, str], **values: str) -> list[Path]:
    """Writes a package into `folder`, which is new or empty: pyproject.toml, where `adds` says what it adds, and
    `texts` by their paths; the files. In all of it `{name}` is that of the package, `{module}` that of its module, and
    `values` are theirs, `{what}` in a few words among them. Raises Busy (EBUSY) for a folder that is not empty, Invalid
    for a name that no package can have."""
    name = normal_name(folder.absolute().name)
    module = name.replace("-", "_")
    if not module.isidentifier() or not name.isascii():
        raise Invalid(f"{folder.name!r}: a package is called by letters, digits and '-', a letter first")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Busy(f"{folder} is there and not empty: choose another")
    values |= {"name": name, "module": module}
    every = {"pyproject.toml": PROJECT + adds, **texts}
    made = {folder / path.format(**values): text.format(**values) for path, text in every.items()}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(made)
