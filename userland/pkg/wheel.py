"""A wheel, read without running any of its code, and refused where it is not exactly what a wheel should be.

Whoever unpacks an archive with one program and checks it with another checks nothing: so the same reader does both, on
one open file that nobody else can write. The file is the private copy whose digest is in the record.
"""

import base64
import csv
import hashlib
import io
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from pathlib import Path
from typing import IO, Final, final

from msgspec import Struct

from syscalls.errors import Invalid, NotFound
from syscalls.package import MANIFEST, Manifest, normal_name, read_manifest
from userland.pkg.shadows import check_top_levels

WHEEL_BYTES_MAX: Final = 256 << 20
UNPACKED_BYTES_MAX: Final = 512 << 20
"""Of one package with all its dependencies."""
FILES_MAX: Final = 20_000
RATIO_MAX: Final = 200
"""How many times larger than packed a file may be, from RATIO_FROM_BYTES on: text takes up to some 20."""
RATIO_FROM_BYTES: Final = 1 << 20
NAME_BYTES_MAX: Final = 1024
METADATA_BYTES_MAX: Final = 4 << 20
_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+_-]{0,62}")
_CHUNK: Final = 1 << 20


@final
class Wheel(Struct, frozen=True, kw_only=True):
    """What was read of a wheel. `python` and `tags` say for which Pythons and machines it is; `manifest` is None for
    one that is no package of kernos: a dependency. `recorded` are the sha256 of its files, as its own RECORD has it."""

    path: Path
    name: str
    version: str
    sha256: str
    manifest: Manifest | None
    manifest_bytes: bytes
    requires: tuple[str, ...]
    python: str
    tags: tuple[str, ...]
    recorded: dict[str, str]
    unpacked_bytes: int


def digest_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_private(source: Path, target: Path) -> None:
    """Copies a wheel to where nobody else writes. Raises NotFound (ENOENT), Invalid for what is no file or too
    large."""
    try:
        with open(source, "rb") as file, open(target, "xb") as copy:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Invalid(f"{source} is no file")
            pour(file, copy, called=str(source))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound(f"{source}: no such file") from None


def pour(source: IO[bytes], target: IO[bytes], *, called: str) -> None:
    """Copies what is as large as a wheel may be. Raises Invalid (EINVAL) for more."""
    size = 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > WHEEL_BYTES_MAX:
            raise Invalid(f"{called} is larger than {WHEEL_BYTES_MAX >> 20} MiB")
        target.write(chunk)


def read_wheel(path: Path, *, called: str) -> Wheel:
    """Reads and checks the wheel at `path`, which people know as `called`. Raises Invalid (EINVAL) with the reason."""
    try:
        with _opened(path) as archive:
            return _read(archive, path)
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, csv.Error) as bad:
        raise Invalid(f"{called}: {bad}") from None


def unpack(wheel: Wheel, into: Path) -> None:
    """Writes the wheel's files below `into`, each checked against its RECORD, without rights to write. Raises Invalid;
    what was written by then is the caller's to throw away."""
    try:
        with _opened(wheel.path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    _write(archive, info, into, wheel.recorded.get(info.filename))
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as bad:
        raise Invalid(f"{wheel.name} {wheel.version}: {bad}") from None


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError) as bad:
        raise ValueError(f"no wheel: {bad}") from None
    with archive:
        _check_entries(archive.infolist())
        yield archive


def _read(archive: zipfile.ZipFile, path: Path) -> Wheel:
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    folder = _dist_info(names)
    metadata = BytesParser().parsebytes(_content(archive, f"{folder}/METADATA"), headersonly=True)
    name, version = normal_name(metadata.get("Name") or ""), metadata.get("Version") or ""
    told_name, _, told_version = folder.removesuffix(".dist-info").partition("-")
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise ValueError(f"its METADATA tells of {name!r} {version!r}: that is no name and version")
    if normal_name(told_name) != name or told_version.replace("_", "-") != version.replace("_", "-"):
        raise ValueError(f"{folder} is not the folder of {name!r} {version!r}, which its METADATA tells of")
    wheel = BytesParser().parsebytes(_content(archive, f"{folder}/WHEEL"), headersonly=True)
    if not (wheel.get("Wheel-Version") or "").startswith("1."):
        raise ValueError(f"a wheel of version {wheel.get('Wheel-Version')}: this kernos knows 1")
    manifest, data = _manifest(archive, names, folder)
    if manifest is not None and (manifest.name, manifest.version) != (name, version):
        raise ValueError(f"its manifest is of {manifest.name} {manifest.version}, the wheel of {name} {version}")
    check_top_levels(names, folder)
    return Wheel(
        path=path,
        name=name,
        version=version,
        sha256=digest_of(path),
        manifest=manifest,
        manifest_bytes=data,
        requires=tuple(metadata.get_all("Requires-Dist") or ()),
        python=metadata.get("Requires-Python") or "",
        tags=tuple(wheel.get_all("Tag") or ()),
        recorded=_recorded(archive, names, folder),
        unpacked_bytes=sum(info.file_size for info in archive.infolist()),
    )


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    """Raises ValueError for what no honest wheel has."""
    if len(entries) > FILES_MAX:
        raise ValueError(f"{len(entries)} files; at most {FILES_MAX}")
    seen: set[str] = set()
    total = 0
    for info in entries:
        _check_name(info.filename, info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
            raise ValueError(f"{info.filename!r} is a link or something else that is no file")
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename!r} is encrypted, or packed in a way that wheels are not")
        folded = unicodedata.normalize("NFKC", info.filename.rstrip("/")).casefold()
        if folded in seen:
            raise ValueError(f"{info.filename!r} is in it twice, or differs from another only in case")
        seen.add(folded)
        total += info.file_size
        if info.file_size > RATIO_FROM_BYTES and info.file_size > RATIO_MAX * max(info.compress_size, 1):
            raise ValueError(f"{info.filename!r} unpacks to {RATIO_MAX} times its size and more: a bomb")
    if total > UNPACKED_BYTES_MAX:
        raise ValueError(f"it unpacks to {total >> 20} MiB; at most {UNPACKED_BYTES_MAX >> 20}")
    files = {unicodedata.normalize("NFKC", i.filename).casefold() for i in entries if not i.is_dir()}
    for name in seen:
        if any(above in files for above in _above(name)):
            raise ValueError(f"{name!r} lies below a file")


def _check_name(name: str, original: str) -> None:
    """Raises ValueError unless it is a plain relative path."""
    parts = name.removesuffix("/").split("/")
    if original != name or "\\" in name or ":" in name or not name.isprintable():
        raise ValueError(f"{original!r} is no plain path")
    if name.startswith("/"):
        raise ValueError(f"{name!r} is an absolute path")
    if ".." in parts:
        raise ValueError(f"{name!r} leads out of the wheel")
    if "" in parts or "." in parts or len(name.encode()) > NAME_BYTES_MAX or any(len(p.encode()) > 255 for p in parts):
        raise ValueError(f"{name[:80]!r} is no plain path")


def _above(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _dist_info(names: list[str]) -> str:
    folders = {top for name in names for top, slash, _ in [name.partition("/")] if slash and top.endswith(".dist-info")}
    if len(folders) != 1:
        raise ValueError(f"{len(folders)} folders *.dist-info; a wheel has one")
    return folders.pop()


def _manifest(archive: zipfile.ZipFile, names: list[str], folder: str) -> tuple[Manifest | None, bytes]:
    place = f"{folder}/{MANIFEST}"
    there = [name for name in names if name.rpartition("/")[2].casefold() == MANIFEST]
    if not there:
        return None, b""
    if there != [place]:
        raise ValueError(f"manifests at {', '.join(there)}: there must be one, at {place}")
    data = _content(archive, place)
    try:
        return read_manifest(data), data
    except ValueError as bad:
        raise ValueError(f"its manifest: {bad}") from None


def _recorded(archive: zipfile.ZipFile, names: list[str], folder: str) -> dict[str, str]:
    """Per file the sha256 that RECORD has. Raises ValueError unless it names all there is and nothing else."""
    place = f"{folder}/RECORD"
    text = _content(archive, place).decode()
    found: dict[str, str] = {}
    for row in csv.reader(io.StringIO(text)):
        if not row:
            continue
        name, digest = row[0], row[1] if len(row) > 1 else ""
        if name in found:
            raise ValueError(f"{place} names {name!r} twice")
        kind, _, value = digest.partition("=")
        if name != place and (kind != "sha256" or not value):
            raise ValueError(f"{place} has no sha256 of {name!r}")
        found[name] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex() if value else ""
    ours = {name for name in names if name not in (f"{folder}/RECORD.jws", f"{folder}/RECORD.p7s")}
    if ours != set(found):
        odd = sorted(ours ^ set(found))[0]
        raise ValueError(f"{odd!r} is {'not in RECORD' if odd in ours else 'in RECORD, but not in the wheel'}")
    return found


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"it has no {name}") from None
    if info.file_size > METADATA_BYTES_MAX:
        raise ValueError(f"{name} is larger than {METADATA_BYTES_MAX >> 20} MiB")
    with archive.open(info) as file:
        return file.read(METADATA_BYTES_MAX)


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, into: Path, recorded: str | None) -> None:
    target = into / info.filename
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    digest = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(target, flags, 0o444)
    except FileExistsError:
        raise ValueError(f"{info.filename!r} is in another wheel of this package, too") from None
    with archive.open(info) as packed, os.fdopen(descriptor, "wb") as file:
        _pour(packed, file, digest, info)
    if recorded and digest.hexdigest() != recorded:
        raise ValueError(f"{info.filename!r} is not what RECORD says: the wheel is damaged, or was changed")


def _pour(packed: IO[bytes], file: IO[bytes], digest: "hashlib._Hash", info: zipfile.ZipInfo) -> None:
    size = 0
    while chunk := packed.read(_CHUNK):
        size += len(chunk)
        if size > info.file_size:
            raise ValueError(f"{info.filename!r} is larger than it says")
        digest.update(chunk)
        file.write(chunk)
