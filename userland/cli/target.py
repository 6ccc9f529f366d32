"""What `kernos run` was told to run: a program by name, a file, or a job file; and what it may do."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from msgspec import Struct

from syscalls.codec import pack
from syscalls.errors import SyscallError
from syscalls.rights import Right
from userland.cli.failures import NOT_FOUND, USAGE, Failure
from userland.programs.manifest import rights_of

ARGV = "__argv__"
"""The keyword argument under which a worker finds command-line words."""
_OF_A_FILE = ("model:*", "context:own", "process:self", "process:children", "account:own usage")


@final
class Target(Struct, frozen=True, kw_only=True):
    """What to spawn: `kwargs` is a msgpack map; `tokens`, `nice` and `model` are what a job file asks for; `added` are
    the rights that the command line adds to the program's own; `file` is where the program stands, if in a file of this
    machine."""

    program: str
    kwargs: bytes
    rights: tuple[str, ...]
    tokens: int | None = None
    nice: int = 0
    model: str | None = None
    added: tuple[str, ...] = ()
    file: Path | None = None


def resolve(what: str, words: Sequence[str], *, allow: Sequence[str]) -> Target:
    """Finds out what `what` is. Raises Failure for a file that is not there or a right that is none."""
    granted = tuple(checked_right(right) for right in allow)
    if what.endswith(".toml"):
        return _job(what, words, granted)
    path, name = split_file(what)
    if path is not None:
        rights = (f"file:{path.parent}/** read", f"program:{path}:* spawn", *_OF_A_FILE, *granted)
        return Target(program=f"{path}:{name}", kwargs=_argv(words), rights=rights, file=path)
    words, folders = name_folders(words)
    added = (*folders, *granted)
    return Target(program=what, kwargs=_argv(words), rights=(*rights_of(what), *added), added=added)


def split_file(what: str) -> tuple[Path | None, str]:
    """`FILE.py:NAME` as a real path and the program's name in it; (None, "") for a program's name. Raises Failure."""
    path, _, name = what.rpartition(":") if ".py:" in what else (what, "", "")
    if not (path.endswith(".py") or "/" in path):
        return None, ""
    real = Path(path).expanduser().resolve()
    if not real.is_file():
        raise Failure(f"{path}: no such file", NOT_FOUND)
    if real.suffix != ".py":
        raise Failure(f"{path}: a program is a Python file (.py), a job is a TOML file (.toml)", USAGE)
    return real, name


def name_folders(words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Words that are folders of this host by their absolute paths, and the rights to read them."""
    told, rights = [], []
    for word in words:
        if not word.startswith("-") and os.path.isdir(os.path.expanduser(word)):
            path = os.path.realpath(os.path.expanduser(word))
            told.append(path)
            rights.append(f"file:{path}/** read")
        else:
            told.append(word)
    return told, tuple(rights)


def checked_right(text: str) -> str:
    """A right as it was written, a relative file path made absolute; `~` stands for a private tree, as in every right.
    Raises Failure with an example."""
    kind, _, rest = text.partition(":")
    if kind == "file" and rest and not rest.startswith(("/", "*", "~")):
        resource, _, actions = rest.partition(" ")
        text = f"file:{os.path.abspath(resource)}" + (f" {actions}" if actions else "")
    try:
        return str(Right.parse(text))
    except SyscallError as bad:
        raise Failure(bad.message, USAGE) from None


def _argv(words: Sequence[str]) -> bytes:
    return pack({ARGV: list(words)})


def _job(what: str, words: Sequence[str], granted: tuple[str, ...]) -> Target:
    from userland.jobfile import load_job

    if words:
        raise Failure(f"a job file takes no arguments: {' '.join(words)}", USAGE)
    job: Any = load_job(Path(what))
    return Target(
        program="job",
        kwargs=pack({"spec": job}),
        rights=(*rights_of("job"), *job.rights, *granted),
        tokens=job.strategy.tokens,
        nice=job.strategy.priority,
        model=job.strategy.model,
    )
