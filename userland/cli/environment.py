"""Folders of installed packages for scripts that name what they need, made once and kept.

An environment is named by the digest of what was asked for and of the interpreter. It is made aside and renamed into
its place, so that what is there is whole; and under a lock, so that two commands at once make it once. The lock is the
installer's too: where a command is killed, the next one waits until the installer that it left behind has ended.

Only wheels are installed unless somebody says otherwise: to unpack one runs nothing of it, while to build from source
runs its author's code, here, with all that the user may do. uv refuses that by itself. pip builds what is named by a
URL or a folder whatever it was told, so it runs with a hook of the interpreter that lets it start no other program.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from syscalls.interpreter import interpreter
from syscalls.paths import cache_dir
from userland.cli.failures import ERROR, NO_CONNECTION, NOT_FOUND, Failure, say
from userland.cli.table import clean

WHEELS_ONLY: Final = (
    "only wheels are installed (to build a package runs its code outside the sandbox, as you): --build allows the rest"
)
_LINES_KEPT: Final = 400
_CAUSES_MAX: Final = 3
_RETRIES: Final = "2"
_REFUSED: Final = "kernos lets pip start no other program"
_HOOK: Final = f"""
import runpy, sys
STARTS = {{"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}}
def hook(event, args):
    if event in STARTS:
        raise PermissionError({_REFUSED!r})
sys.addaudithook(hook)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_OFFLINE: Final = ("connection broken by", "error sending request", "dns error", "network was disabled", "--offline")
_FROM_SOURCE: Final = (_REFUSED, "uilding source distributions is disabled", "uilding from source is disabled")
_UNKNOWN: Final = re.compile(r"No matching distribution found for (.+)|(Because .+)")


def environment(dependencies: tuple[str, ...], *, name: str, build: bool = False, tell: Callable[[str], None]) -> Path:
    """The folder in which all of `dependencies` are installed, made if there is none; where it really lies.

    `name` is the script's, for messages; `tell` is handed each line of the installer's. With `build` packages without a
    wheel are built. Raises Failure with one sentence; then, or when it is interrupted, nothing of it is left."""
    if not build:
        _refuse_sources(dependencies, name)
    home = cache_dir() / "packages"
    try:
        home.mkdir(parents=True, exist_ok=True)
        home = home.resolve()
        place = home / digest(dependencies, interpreter())
        if place.is_dir():
            return place
        with _locked(home / f"{place.name}.lock", name) as lock:
            if not place.is_dir():
                _make(place, dependencies, name=name, build=build, tell=tell, lock=lock)
        return place
    except OSError as failed:
        where = failed.filename or home
        raise Failure(f"{name}: its packages cannot be kept in {where}: {failed.strerror}", ERROR) from None


def digest(dependencies: Sequence[str], python: str) -> str:
    """The name of an environment: the same for the same requirements in any order, another for another interpreter."""
    asked = json.dumps([sorted(set(dependencies)), python])
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


def failure(lines: Sequence[str], *, name: str, build: bool) -> Failure:
    """What the installer said, as one sentence."""
    text = "\n".join(lines)
    if any(each in text for each in _OFFLINE):
        return Failure(
            f"{name}: its packages are not here yet, and the package index cannot be reached: try again when it can",
            NO_CONNECTION,
        )
    if any(each in text for each in _FROM_SOURCE):
        return Failure(f"{name}: one of its packages has no wheel that fits here; {WHEELS_ONLY}", ERROR)
    unknown = _UNKNOWN.search(text)
    if unknown is not None:
        what = unknown[1] or unknown[2].rstrip(".")
        reason = f"there is no {unknown[1]} for this machine" if unknown[1] else what
        return Failure(f"{name}: {reason}" + ("" if build else f"; {WHEELS_ONLY}"), NOT_FOUND)
    errors = [line.partition(": ")[2] for line in lines if line.lower().startswith(("error: ", "cause: "))]
    if not errors or errors[0].endswith(":"):  # what pip did not expect: its traceback ends with what it was
        errors = [line for line in lines if line][-1:] or ["the installer said nothing"]
    return Failure(f"{name}: its packages cannot be installed: {': '.join(errors[:_CAUSES_MAX])}", ERROR)


def _refuse_sources(dependencies: tuple[str, ...], name: str) -> None:
    for each in dependencies:
        url = Requirement(each).url
        if url is not None and not url.partition("#")[0].partition("?")[0].endswith(".whl"):
            raise Failure(f"{name}: {each} is no wheel; {WHEELS_ONLY}", ERROR)


@contextmanager
def _locked(path: Path, name: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: its packages are being installed by another command: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _make(
    place: Path, dependencies: tuple[str, ...], *, name: str, build: bool, tell: Callable[[str], None], lock: int
) -> None:
    aside = place.with_suffix(".new")
    shutil.rmtree(aside, ignore_errors=True)  # of a command that was killed: its lock is gone, and so is its installer
    say(f"{name}: installing {', '.join(dependencies)}; kept in {place}")
    try:
        aside.mkdir(mode=0o755)
        status, lines = _run(_command(aside, dependencies, build=build), folder=place.parent, lock=lock, tell=tell)
        if status != 0:
            raise failure(lines, name=name, build=build)
        aside.rename(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _command(target: Path, dependencies: tuple[str, ...], *, build: bool) -> list[str]:
    """The installer's words: uv's where there is one, beside the interpreter or on the path; else pip's."""
    uv = _uv()
    if uv is not None:
        words = [uv, "pip", "install", "--no-progress", "--python", sys.executable, "--link-mode", "copy"]
        only = ["--no-build"]
    else:
        words = [sys.executable, "-P", *(("-m", "pip") if build else ("-c", _HOOK)), "install", "--no-input"]
        words += ["--progress-bar", "off", "--disable-pip-version-check", "--no-warn-conflicts", "--retries", _RETRIES]
        only = ["--only-binary", ":all:"]
    return [*words, "--target", str(target), *([] if build else only), "--", *dependencies]


def _uv() -> str | None:
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    return beside if os.access(beside, os.X_OK) else shutil.which("uv")


def _run(words: list[str], *, folder: Path, lock: int, tell: Callable[[str], None]) -> tuple[int, list[str]]:
    """Runs the installer; its status and what it said last. It ends with this call, however that ends."""
    lines: deque[str] = deque(maxlen=_LINES_KEPT)
    # A session of its own: Ctrl-C at the terminal is ours, and what the installer started ends with it. In a folder of
    # ours: that in which the user stands may hold a configuration that the script's author wrote.
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=folder,
        env={**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "NO_COLOR": "1"},
        pass_fds=(lock,),
        start_new_session=True,
        umask=0o022,  # workers have another uid
    )
    assert process.stdout is not None
    try:
        with process.stdout:
            for line in process.stdout:
                lines.append(clean(line.strip()))
                tell(lines[-1])
        return process.wait(), list(lines)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
