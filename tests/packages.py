"""Packages made by tests: real wheels, honest ones by the build hook, dishonest ones byte by byte."""

import base64
import hashlib
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.commandline import CommandLine

MODULE = '''
from pathlib import Path

from kernos import Sys, program, tool


@tool
def count(text: str) -> int:
    """Counts words."""
    return len(text.split())


@tool
def look(path: str) -> str:
    """Reads a file that it may see."""
    return Path(path).read_text()


@program
async def hello(sys: Sys, name: str = "you") -> str:
    """Greets."""
    return f"hello {name}"


@program
async def rights(sys: Sys) -> list[str]:
    """What it holds."""
    return sorted((await sys.self()).rights)
'''


def wheel(
    folder: Path,
    *,
    name: str = "words",
    version: str = "1.0",
    manifest: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes | str] | None = None,
    requires: tuple[str, ...] = (),
    raw: tuple[tuple[zipfile.ZipInfo | str, bytes], ...] = (),
    packaged: bool = True,
    recorded: bool = True,
    tag: str = "py3-none-any",
    python: str = "",
) -> Path:
    """A wheel as an installer would accept it, but for what `raw` puts in besides. `manifest` are keys of kernos.json
    beyond name and version; `packaged` false leaves it out,
    `recorded` false keeps `raw` out of RECORD."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    told = {"name": name, "version": version, "programs": {"hello": f"{module}:hello"}, **(manifest or {})}
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Python: {python}\n" if python else ""
    metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
    contents: dict[str, bytes] = {f"{module}.py": MODULE.encode()}
    contents |= {path: data.encode() if isinstance(data, str) else data for path, data in (files or {}).items()}
    contents[f"{info}/METADATA"] = metadata.encode()
    contents[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    if packaged:
        contents[f"{info}/kernos.json"] = json.dumps(told).encode()
    record = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, data in contents.items())
    if recorded:
        record += "".join(
            f"{_name(each)},{_digest(data)},{len(data)}\n" for each, data in raw if _name(each) not in contents
        )
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice
        for path, data in contents.items():
            archive.writestr(path, data)
        for each, data in raw:
            archive.writestr(each, data)
    return place


def left(kernos: CommandLine) -> list[str]:
    """What lies in the folder of packages but its lock."""
    folder = kernos.home / "state" / "kernos" / "packages"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".lock")


def _name(each: zipfile.ZipInfo | str) -> str:
    return each if isinstance(each, str) else each.filename


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
