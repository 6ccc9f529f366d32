"""What package indexes attest: the provenance of a file, as the simple API of an index (PEP 691, PEP 740) names it.

pip does not fetch it. The indexes that are asked are the operator's, as pip has them; one that needs a password is not.
"""

import http.client
import shlex
import urllib.request
from pathlib import Path
from typing import Final, final
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct

from syscalls.errors import SyscallError
from userland.pkg.attestation import ATTESTATION_BYTES_MAX, SUFFIXES
from userland.pkg.environment import run_pip

PYPI: Final = "https://pypi.org/simple"
PAGE_BYTES_MAX: Final = 64 << 20
TIMEOUT_S: Final = 10.0
_KIND: Final = "application/vnd.pypi.simple.v1+json"
_INDEXES: Final = ("index-url", "extra-index-url")


@final
class _File(Struct, frozen=True):
    filename: str
    hashes: dict[str, str] = {}
    provenance: str | None = None


@final
class _Page(Struct, frozen=True):
    files: list[_File] = []


def fetch_provenance(wheel: Path, name: str, sha256: str) -> bool:
    """Puts what an index attests of a wheel of the package `name` beside it; whether any did. An index that does not
    answer, or attests nothing, is passed over: an attestation is believed for what it says, not for where it was."""
    for index in _indexes():
        page_url = f"{index.rstrip('/')}/{name}/"
        page = _get(page_url, PAGE_BYTES_MAX, _KIND)
        try:
            files = msgspec.json.decode(page, type=_Page).files if page else []
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # an index that answers in HTML
        for file in files:
            if file.filename == wheel.name and file.hashes.get("sha256") == sha256 and file.provenance:
                url = urljoin(page_url, file.provenance)
                data = _get(url, ATTESTATION_BYTES_MAX + 1, "application/json") if _plain(url) else b""
                if data:
                    wheel.with_name(wheel.name + SUFFIXES[1]).write_bytes(data)
                    return True
    return False


def _indexes() -> list[str]:
    """Those of pip's configuration and environment, or the one that pip asks where nothing is said."""
    try:
        lines = run_pip("config", "list", quiet=False).splitlines()
    except SyscallError:
        return []
    said: dict[str, list[str]] = {}
    for line in lines:
        key, equals, value = line.partition("=")
        option = key.rpartition(".")[2].replace("_", "-")
        if equals and option in _INDEXES and not key.startswith(("install.", "wheel.")):
            said[option] = [url for word in shlex.split(value) for url in word.split()]
    first, more = said.get(_INDEXES[0], [PYPI]), said.get(_INDEXES[1], [])
    return [url for url in (*first, *more) if _plain(url)]


def _plain(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and "@" not in parts.netloc


def _get(url: str, bytes_max: int, kind: str) -> bytes:
    """What there is at a URL; nothing where it does not answer."""
    request = urllib.request.Request(url, headers={"Accept": kind})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            data: bytes = answer.read(bytes_max)
            return data
    except (OSError, http.client.HTTPException, ValueError):
        return b""
