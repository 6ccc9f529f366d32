"""The build hook: makes an ordinary wheel by an ordinary backend (PEP 517) and puts the manifest into its metadata.

    [build-system]
    requires = ["kernos"]
    build-backend = "kernos.build"

    [tool.kernos.tools]
    finder = "finder:*"

`[tool.*]` of a pyproject is not carried into wheels, so the manifest has to be a file in it. The backend below is
flit_core, which is small, needs nothing and no network; `[tool.kernos] backend` names another.
"""

import base64
import csv
import hashlib
import importlib
import io
import os
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

import msgspec

from syscalls.errors import Invalid, NotFound
from syscalls.package import MANIFEST, Locked, Manifest, normal_name, write_json

BACKEND: Final = "flit_core.buildapi"
OURS: Final = "kernos.build"
LOCK: Final = "kernos.lock"
"""Beside pyproject.toml: the dependencies with their hashes, as `kernos pkg build` found them."""
_NOT_MANIFEST: Final = frozenset({"backend"})
_OF_PROJECT: Final = frozenset({"name", "version", "summary", "lock"})


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 517: the wheel of the project in the working directory. Raises Invalid for a manifest that makes no sense,
    before anything is built."""
    project = read_project(Path())
    Manifest(name="name", version="1", **_of_author(project))
    name: str = _backend(project).build_wheel(wheel_directory, config_settings, metadata_directory)
    add_manifest(Path(wheel_directory) / name, project, lock_of(Path()))
    return name


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """PEP 517: as the backend does it."""
    name: str = _backend(read_project(Path())).build_sdist(sdist_directory, config_settings)
    return name


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 660: as the backend does it, for the author's own tests; it has no manifest."""
    name: str = _backend(read_project(Path())).build_editable(wheel_directory, config_settings, metadata_directory)
    return name


def requires(hook: str, config_settings: dict[str, Any] | None = None) -> list[str]:
    """What the backend needs for `hook`, and the backend itself."""
    project = read_project(Path())
    backend = _backend(project)
    asked = getattr(backend, f"get_requires_for_build_{hook}", None)
    return list(asked(config_settings)) if asked is not None else []


def read_project(folder: Path) -> dict[str, Any]:
    """pyproject.toml as it is. Raises NotFound (ENOENT), Invalid (EINVAL)."""
    path = folder / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(f"{path.absolute()}: no such file; 'kernos pkg new NAME' begins a package") from None
    except (ValueError, OSError) as bad:
        raise Invalid(f"{path}: {bad}") from None


def lock_of(folder: Path) -> tuple[Locked, ...]:
    """What kernos.lock holds; nothing without one."""
    path = folder / LOCK
    if not path.is_file():
        return ()
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Locked, ...])
    except msgspec.MsgspecError as bad:
        raise Invalid(f"{path}: {bad}; 'kernos pkg build --lock' makes it again") from None


def add_manifest(wheel: Path, project: dict[str, Any], lock: tuple[Locked, ...]) -> None:
    """Writes the manifest into a wheel that was built, and into its RECORD. Raises Invalid."""
    with zipfile.ZipFile(wheel) as archive:
        contents = [(info, archive.read(info)) for info in archive.infolist()]
    folder = next(i.filename.partition("/")[0] for i, _ in contents if ".dist-info/" in i.filename)
    name, _, version = folder.removesuffix(".dist-info").partition("-")
    manifest = manifest_of(project, normal_name(name), _version(contents, folder) or version, lock)
    data = write_json(manifest)
    place = f"{folder}/{MANIFEST}"
    fresh = wheel.with_suffix(".new")
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in contents:
            if info.filename == f"{folder}/RECORD":
                mark = zipfile.ZipInfo(place, info.date_time)
                mark.external_attr, mark.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
                archive.writestr(mark, data)
                content = _recorded(content, place, data)
            if info.filename != place:
                archive.writestr(info, content)
    os.replace(fresh, wheel)


def manifest_of(project: dict[str, Any], name: str, version: str, lock: tuple[Locked, ...]) -> Manifest:
    """What `[tool.kernos]` of a pyproject comes to. Raises Invalid (EINVAL) with the key and what is wrong with it."""
    summary = str(project.get("project", {}).get("description", ""))
    written = _of_author(project)
    try:
        return Manifest(name=name, version=version, summary=summary, lock=lock, **written)
    except ValueError as bad:
        raise Invalid(f"[tool.kernos] in pyproject.toml: {bad}") from None


def _of_author(project: dict[str, Any]) -> dict[str, Any]:
    """The keys of `[tool.kernos]`, checked. Raises Invalid."""
    table = project.get("tool", {}).get("kernos")
    if table is None:
        raise Invalid("pyproject.toml has no [tool.kernos]: it says what the package adds and what it asks for")
    written = {key: value for key, value in table.items() if key not in _NOT_MANIFEST}
    wrong = _OF_PROJECT & written.keys()
    if wrong:
        raise Invalid(f"[tool.kernos] has {sorted(wrong)[0]!r}: that is taken from [project], or from {LOCK}")
    try:
        checked = msgspec.convert({"name": "name", "version": "1", **written}, Manifest)
    except msgspec.ValidationError as bad:
        raise Invalid(f"[tool.kernos] in pyproject.toml: {bad}") from None
    return {key: getattr(checked, key) for key in written}


def _version(contents: list[tuple[zipfile.ZipInfo, bytes]], folder: str) -> str:
    for info, content in contents:
        if info.filename == f"{folder}/METADATA":
            for line in content.decode().splitlines():
                if line.startswith("Version:"):
                    return line.partition(":")[2].strip()
    return ""


def _recorded(record: bytes, place: str, data: bytes) -> bytes:
    """RECORD with one line more, before its own."""
    rows = [row for row in csv.reader(io.StringIO(record.decode())) if row and row[0] != place]
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    rows.insert(max(len(rows) - 1, 0), [place, f"sha256={digest}", str(len(data))])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _backend(project: dict[str, Any]) -> Any:
    """The backend below: what `[tool.kernos]` names, else the project's own where that is not this one, else flit."""
    own = project.get("build-system", {}).get("build-backend", OURS)
    name = project.get("tool", {}).get("kernos", {}).get("backend") or (BACKEND if own == OURS else own)
    module, _, path = str(name).partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError:
        raise NotFound(
            f"the build backend {name} is not installed here: pip install {module.partition('.')[0]}"
        ) from None
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    return found
