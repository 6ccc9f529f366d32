"""Where a package comes from: a file, an address on the web, or a name that an index knows.

What is not here is fetched into a folder first, with the signature and the attestation that lie beside it, and is a
file like any other from there on: an address is believed no more than a file is.
"""

import http.client
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from syscalls.errors import Invalid, IOFailed, NotFound, SyscallError
from syscalls.package import normal_name
from userland.pkg.attestation import SUFFIXES as ATTESTATIONS
from userland.pkg.environment import Source, run_pip
from userland.pkg.index import fetch_provenance
from userland.pkg.signing import SUFFIX as SIGNATURE
from userland.pkg.wheel import digest_of, pour

TIMEOUT_S: Final = 30.0
_WEB: Final = ("http://", "https://")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:==[A-Za-z0-9.!+_-]+)?")


@contextmanager
def at_hand(what: str, source: Source) -> Iterator[Path]:
    """The wheel that `what` stands for, as a file, until the block ends. Raises NotFound (ENOENT), Invalid (EINVAL),
    IOFailed (EIO) for an address that does not answer."""
    if what.startswith(_WEB):
        with _folder() as folder:
            yield _download(what, folder)
    elif "://" in what:
        raise Invalid(f"{what}: packages come from https:// and http:// addresses, from files, or by their names")
    elif _NAME.fullmatch(what) and not what.endswith(".whl") and not Path(what).exists():
        with _folder() as folder:
            yield _named(what, folder, source)
    else:
        yield _file(what)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kernos-package-") as folder:
        yield Path(folder)


def _file(what: str) -> Path:
    path = Path(what).expanduser()
    if path.is_dir():
        how = (
            f"'kernos pkg build {what}' makes the wheel"
            if (path / "pyproject.toml").is_file()
            else "name a wheel in it"
        )
        named = f"; the package of that name is {what}==VERSION" if _NAME.fullmatch(what) else ""
        raise NotFound(f"{what} is a folder: {how}{named}")
    if not path.exists() and not what.endswith(".whl"):
        raise NotFound(f"{what}: there is no such file, and it is no name (NAME or NAME==VERSION) and no address")
    return path


def _download(url: str, folder: Path) -> Path:
    try:
        parts = urlsplit(url)
    except ValueError as bad:
        raise Invalid(f"{url} is no address: {bad}") from None
    name = unquote(parts.path).rpartition("/")[2]
    if not name.endswith(".whl") or name.startswith(".") or not name.isprintable():
        raise Invalid(f"{url} is the address of no wheel: it does not end in .whl")
    wheel = folder / name
    if not _fetch(url, wheel):
        raise NotFound(f"{url}: there is nothing")
    bare = parts._replace(query="", fragment="").geturl()
    for suffix in (SIGNATURE, *ATTESTATIONS):
        _fetch(bare + suffix, folder / (name + suffix))
    return wheel


def _fetch(url: str, target: Path) -> bool:
    """Whether there was something at `url`; it is in `target` then."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, open(target, "xb") as file:
            promised = answer.headers.get("Content-Length", "")
            pour(answer, file, called=url)
            if promised.isdigit() and file.tell() != int(promised):
                raise IOFailed(f"{url}: {file.tell()} of {promised} bytes came: try again")
    except urllib.error.HTTPError as refused:
        refused.close()
        if refused.code in (403, 404, 410):
            return False
        raise IOFailed(f"{url}: {refused.code} {refused.reason}") from None
    except http.client.InvalidURL:
        raise Invalid(f"{url} is no address: write it without spaces") from None
    except http.client.HTTPException:
        raise IOFailed(f"{url} cannot be fetched: what answers there is no web server, or broke off") from None
    except SyscallError:
        raise
    except OSError as failed:
        raise IOFailed(f"{url} cannot be fetched: {getattr(failed, 'reason', failed)}") from None
    return True


def _named(name: str, folder: Path, source: Source) -> Path:
    """The newest wheel of a name; with what its index attests, and with what lies beside it where it came from a folder
    of this machine."""
    words = ("download", "--only-binary", ":all:", "--no-deps", "--dest", str(folder), *source.options(), "--", name)
    run_pip(*words, what="package")
    (wheel,) = folder.glob("*.whl")
    if source.index:
        fetch_provenance(wheel, normal_name(name.partition("==")[0]), digest_of(wheel))
    for link in source.links:
        for suffix in (SIGNATURE, *ATTESTATIONS):
            beside = Path(link) / (wheel.name + suffix)
            if "://" not in link and beside.is_file():
                (folder / beside.name).write_bytes(beside.read_bytes())
    return wheel
