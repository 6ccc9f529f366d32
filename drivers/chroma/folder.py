"""The database folder: opened, or set aside when chroma cannot read it; and the names it allows for collections."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import chromadb
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import Settings

from syscalls.errors import Invalid, IOFailed, PermissionDenied

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,60}[A-Za-z0-9]")
HASHED = "sha256-"
PASSING = ("disk is full", "no space", "locked", "readonly", "read-only", "permission denied", "too many open files")
"""What chroma says when the machine is at fault and the database is not: nothing is dropped for these."""


def chroma_name(collection: str) -> str:
    """The name in chroma: the same where its rules allow it, else a digest. Two names never meet."""
    if SAFE_NAME.fullmatch(collection) and not collection.startswith(HASHED):
        return collection
    return HASHED + hashlib.sha256(collection.encode()).hexdigest()


def open_folder(origin: str) -> tuple[Any, Path | None]:
    """A client of the database in `origin`, and where an unreadable one was set aside.

    The store follows the kernel's truth, so that an unreadable database costs only the time to fill a new one. Raises
    Invalid, PermissionDenied or IOFailed for a folder that cannot be used.
    """
    folder = Path(origin).expanduser().absolute()
    _check(folder)
    try:
        return _client(folder), None
    except BaseException as failed:
        raise_if_passing(failed, folder)
        SharedSystemClient.clear_system_cache()
    aside = _set_aside(folder)
    _check(folder)
    try:
        return _client(folder), aside
    except Exception as failed:
        raise IOFailed(f"chroma cannot make a database in {folder} ({_line(failed)}): give another folder") from None


def _client(folder: Path) -> Any:
    client = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))
    client.list_collections()
    return client


def _check(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise Invalid(f"{folder} is not a folder: give chroma a folder for its database") from None
    except PermissionError:
        raise PermissionDenied(f"{folder} cannot be made here: give chroma a folder that may be written") from None
    except OSError as failed:
        raise IOFailed(f"{folder}: {failed.strerror}: give chroma another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionDenied(f"{folder} may not be written: give chroma a folder that may")


def _set_aside(folder: Path) -> Path:
    n = 1
    while (aside := folder.with_name(f"{folder.name}.unreadable-{n}")).exists():
        n += 1
    try:
        return folder.rename(aside)
    except OSError as failed:
        raise IOFailed(f"{folder} cannot be read by chroma nor moved ({failed.strerror}): move it away") from None


def raise_if_passing(failed: BaseException, folder: Path) -> None:
    """Raises what is not the database's fault: an error of ours, an interrupt, IOFailed for a full or closed disk."""
    if isinstance(failed, KeyboardInterrupt | SystemExit | Invalid | IOFailed):
        raise failed
    said = str(failed).lower()
    if any(word in said for word in PASSING):
        raise IOFailed(f"chroma cannot use {folder} ({_line(failed)}): make room or allow it, then try again") from None


def _line(failed: BaseException) -> str:
    lines = str(failed).strip().splitlines()
    return lines[0][:200] if lines else type(failed).__name__
