"""Locking: which wheels exactly a package depends on, looked up once, by its author.

uv resolves where there is one, and finds the hashes of every wheel of a release; otherwise pip, and finds those that
fit the author's machine. Neither builds anything. What every worker has already is left out.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from syscalls.errors import Invalid
from syscalls.package import Locked, normal_name
from userland.pkg.environment import Source, requirement_name, run_pip
from userland.pkg.shadows import PROVIDED

RESOLVE_S_MAX: Final = 600.0
_PIN: Final = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def lock(requirements: tuple[str, ...], *, source: Source) -> tuple[Locked, ...]:
    """The wheels that `requirements` come to. Raises Invalid (EINVAL) with the reason in the resolver's words."""
    wanted = tuple(each for each in requirements if requirement_name(each) not in PROVIDED)
    if not wanted:
        return ()
    direct = next((each for each in wanted if "@" in each.partition(";")[0]), None)
    if direct is not None:
        raise Invalid(f"{direct!r}: packages come from an index, not from an address")
    uv = find_uv()
    found = _by_uv(uv, wanted, source) if uv else _by_pip(wanted, source)
    return tuple(sorted((each for each in found if each.name not in PROVIDED), key=lambda each: each.name))


def uncovered_by(locked: tuple[Locked, ...], requirements: tuple[str, ...]) -> tuple[str, ...]:
    """The requirements that a lock has no wheel of, by name."""
    names = {each.name for each in locked} | PROVIDED
    return tuple(each for each in requirements if requirement_name(each) not in names)


def find_uv() -> str | None:
    """uv, beside the interpreter or on the path."""
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    return beside if os.access(beside, os.X_OK) else shutil.which("uv")


def _by_uv(uv: str, wanted: tuple[str, ...], source: Source) -> list[Locked]:
    command = [uv, "pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate", "--no-build", "--quiet"]
    command += ["--python", sys.executable, *source.options()]
    done = subprocess.run(
        command, input="\n".join(wanted) + "\n", capture_output=True, text=True, timeout=RESOLVE_S_MAX, check=False
    )
    if done.returncode != 0:
        raise Invalid(f"the dependencies cannot be resolved from wheels alone: {_last(done.stderr)}")
    pins = re.split(r"\n(?=\S)", done.stdout)
    return [
        Locked(name=normal_name(pin[1]), version=pin[2], sha256=tuple(_HASH.findall(text)))
        for text in pins
        if (pin := _PIN.match(text)) is not None
    ]


def _by_pip(wanted: tuple[str, ...], source: Source) -> list[Locked]:
    told = run_pip(
        "install", "--dry-run", "--ignore-installed", "--only-binary", ":all:", "--report", "-", *source.options(),
        "--", *wanted,
    )  # fmt: skip
    report: dict[str, Any] = msgspec.json.decode(told)
    return [
        Locked(
            name=normal_name(each["metadata"]["name"]),
            version=each["metadata"]["version"],
            sha256=(each["download_info"]["archive_info"]["hashes"]["sha256"],),
        )
        for each in report["install"]
    ]


def write_lock(path: Path, locked: tuple[Locked, ...]) -> None:
    """kernos.lock, to be kept with the source; none where nothing is locked."""
    if locked:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(locked)) + b"\n")
    else:
        path.unlink(missing_ok=True)


def _last(stderr: str) -> str:
    """What was said, without the frame that is drawn around it."""
    lines = [re.sub(r"^[^A-Za-z0-9]+", "", line).rstrip() for line in stderr.splitlines()]
    return " ".join(line for line in lines if line)[:600] or "it said nothing"
