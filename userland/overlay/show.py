"""An overlay's changes for people: a line each, or unified diffs of what is text."""

import difflib
import os
from collections.abc import Iterator
from contextlib import closing

from userland.overlay.apply import opened
from userland.overlay.changes import Change
from userland.overlay.store import Layer

TEXT_BYTES_MAX = 1 << 20
_LETTER = {"added": "A", "modified": "M", "deleted": "D", "replaced": "R", "mode": "C", "special": "?"}


def line(layer: Layer, change: Change) -> str:
    """One change: a letter, the path, and what is to be known of it."""
    path = os.path.join(layer.folder, change.path) + ("/" if change.what == "folder" else "")
    notes = [f"-> {change.target}"] if change.what == "link" else []
    notes += ["(leads out of the folder)"] if change.out else []
    notes += [f"(mode {change.mode:03o})"] if change.kind == "mode" else []
    notes += [f"(conflict: {change.conflict})"] if change.conflict else []
    return " ".join([_LETTER[change.kind], path, *notes])


def diff(layer: Layer, change: Change) -> Iterator[str]:
    """A file's change, line by line; one line for what is no text."""
    before = None if change.kind == "added" else opened(layer.folder, change.path)
    after = None if change.kind == "deleted" else opened(str(layer.upper), change.path)
    path = os.path.join(layer.folder, change.path).lstrip("/")
    old, new = _text(before), _text(after)
    if old is None or new is None:
        yield f"Binary file {path} differs"
        return
    names = "/dev/null" if before is None else f"a/{path}", "/dev/null" if after is None else f"b/{path}"
    yield from difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm="")


def _text(fd: int | None) -> str | None:
    """What is there as text; None if it is none, or too much."""
    if fd is None:
        return ""
    with closing(os.fdopen(fd, "rb")) as file:
        data = file.read(TEXT_BYTES_MAX + 1)
    if len(data) > TEXT_BYTES_MAX or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
