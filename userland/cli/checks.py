"""What `kernos doctor` looks at: each check says ok, warn or fail, and what to do."""

import json
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, final

from msgspec import Struct

from syscalls.calls import kernel
from syscalls.errors import SyscallError
from syscalls.limits import MIB
from syscalls.paths import SOCKET_BYTES_MAX
from userland.cli.session import Session
from userland.cli.values import bytes_count

Status = Literal["ok", "warn", "fail"]
PYTHON_LEAST = (3, 11)
DISK_LOW_BYTES = 1024 * MIB
DISK_LEAST_BYTES = 100 * MIB
SHIPPED = "kernos-tiny"
_PROBE_S_MAX = 60
_OPTIONAL = {"torch", "chroma", "embedding", "openai", "attest"}
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[.*?\])?\s*(?P<versions>[^;]*)(?:;.*extra == ['\"](?P<extra>\w+))?"
)


@final
class Finding(Struct, frozen=True):
    """One line of the doctor's report; `fix` says what to do where the status is not `ok`."""

    check: str
    status: Status
    detail: str
    fix: str = ""


def examine(session: Session, state: Path) -> Iterator[Finding]:
    """All checks, in the order of a boot."""
    yield _python()
    yield from _packages()
    yield from _sandbox()
    yield _files()
    yield from _state(state)
    yield _model()
    yield check_kernel(session)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_LEAST:
        return Finding("python", "fail", found, "install Python 3.11 or later")
    if sys.platform != "linux":
        return Finding(
            "python", "warn", f"{found} on {sys.platform}", "programs and tools are run behind a jail on Linux alone"
        )
    return Finding("python", "ok", f"{found}, {os.cpu_count()} processors")


def _packages() -> Iterator[Finding]:
    """What kernos needs, then each extra."""
    try:
        written = metadata.requires("kernos") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", "fail", "kernos itself is not installed", "run 'pip install -e .' in its folder")
        return
    wanted: dict[str, list[tuple[str, str]]] = {"": []}
    for line in written:
        found = _REQUIREMENT.match(line)
        if found is not None and found["name"] != "kernos":
            wanted.setdefault(found["extra"] or "", []).append((found["name"], found["versions"].strip()))
    for extra, requirements in wanted.items():
        if not extra or extra in _OPTIONAL:
            yield _requirements(extra, requirements)


def _requirements(extra: str, wanted: list[tuple[str, str]]) -> Finding:
    check = f"packages[{extra}]" if extra else "packages"
    there, missing = [], []
    for name, versions in wanted:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(f"no {name}")
            continue
        pinned = versions.removeprefix("==") if versions.startswith("==") else ""
        if pinned and version.partition("+")[0] != pinned:
            missing.append(f"{name} {version}, not {pinned}")
        there.append(f"{name} {version}")
    if not missing:
        return Finding(check, "ok", ", ".join(there))
    fix = f"pip install 'kernos{f'[{extra}]' if extra else ''}'"
    return Finding(check, "warn" if extra else "fail", ", ".join(missing), fix)


def _sandbox() -> Iterator[Finding]:
    """The layers of the jail, tried by the sandbox itself in a process of its own: clients do not import it."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sandbox.probe", "--json"],
            capture_output=True,
            timeout=_PROBE_S_MAX,
            check=False,
        )
        layers: list[dict[str, Any]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as failed:
        yield Finding(
            "sandbox", "fail", f"the layers cannot be tried: {failed}", "run 'python -m sandbox.probe --json'"
        )
        return
    for layer in layers:
        status: Status = "ok" if layer["available"] else "fail" if layer["needed"] else "warn"
        yield Finding(f"sandbox: {layer['name']}", status, layer["detail"], layer["fix"])


def _files() -> Finding:
    """What keeps file calls below the folders that rights name, tried by the file host's own code."""
    command = [sys.executable, "-P", "-m", "drivers.filing.beneath"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_S_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as failed:
        return Finding("files", "fail", f"openat2 cannot be tried: {failed}", f"run '{' '.join(command[1:])}'")
    problem = done.stdout.strip() or (done.stderr.strip().rpartition("\n")[2] if done.returncode else "")
    if not problem:
        return Finding("files", "ok", "openat2 keeps paths below their folders")
    return Finding("files", "fail", problem, "boot Linux 5.6 or later; in a container, a seccomp profile with openat2")


def _state(folder: Path) -> Iterator[Finding]:
    """The state folder, or where it will be made: permission and room."""
    there = folder
    while not there.exists():
        there = there.parent
    note = "" if there == folder else " (will be made)"
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding("state", "fail", f"{there} is not writable", "choose another with 'kernos up --state DIR'")
        return
    mode = stat.S_IMODE(there.stat().st_mode)
    if there == folder and mode & 0o077:
        yield Finding("state", "warn", f"{folder} has mode {mode:04o}: others can look into it", f"chmod 700 {folder}")
    else:
        yield Finding("state", "ok", f"{folder}{note}")
    free = shutil.disk_usage(there).free
    status: Status = "fail" if free < DISK_LEAST_BYTES else "warn" if free < DISK_LOW_BYTES else "ok"
    yield Finding(
        "disk", status, f"{bytes_count(free)} free", "" if status == "ok" else "make room, or use --state DIR"
    )


def _model() -> Finding:
    """The model that ships, where the drivers are installed."""
    package = find_spec("drivers")
    if package is None or not package.submodule_search_locations:
        return Finding("model", "fail", "the package 'drivers' is not installed", "install kernos again")
    return check_model(Path(package.submodule_search_locations[0]) / "tiny" / SHIPPED)


def check_model(folder: Path) -> Finding:
    """A model's folder: its weights are whole, and are what its card says."""
    fix = "'make model' trains it anew; or 'kernos up --model DIR' takes another"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return Finding("model", "fail", f"{SHIPPED} is not at {folder}", fix)
    wrong = _cut_short(weights)
    if wrong:
        return Finding("model", "fail", f"{weights}: {wrong}", fix)
    digest = _sha256(weights)
    told = _told_digest(folder)
    if told and told != digest:
        return Finding("model", "fail", f"{SHIPPED}: sha256 {digest[:12]}…, expected {told[:12]}…", fix)
    known = "as its card says" if told else "its card has no checksum to compare"
    return Finding("model", "ok", f"{SHIPPED}, {bytes_count(weights.stat().st_size)}, sha256 {digest[:12]}… ({known})")


def _cut_short(weights: Path) -> str:
    """Whether a safetensors file ends where its header says."""
    with weights.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return "it is empty"
        size = struct.unpack("<Q", start)[0]
        if size > weights.stat().st_size:
            return "its header is cut short"
        try:
            header: dict[str, Any] = json.loads(file.read(size))
        except ValueError:
            return "its header is no JSON"
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + size + max(ends, default=0)
    found = weights.stat().st_size
    return "" if found == expected else f"it has {found} bytes, its header says {expected}"


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _told_digest(folder: Path) -> str:
    """The digest of the weights as the model card names it, or nothing."""
    for card in sorted(folder.glob("*.md")):
        found = re.search(r"\b[0-9a-f]{64}\b", card.read_text(errors="replace"))
        if found is not None:
            return found[0]
    return ""


def check_kernel(session: Session) -> Finding:
    """Who answers at the socket, or what is wrong with it."""
    if session.host:
        return _elsewhere(session)
    path = session.path
    size = len(os.fsencode(path))
    if size > SOCKET_BYTES_MAX:
        fix = "choose a shorter path with --socket or KERNOS_SOCKET"
        return Finding("kernel", "fail", f"{path} has {size} bytes, at most {SOCKET_BYTES_MAX} are allowed", fix)
    dead = _dead(path)
    if dead is not None:
        return dead
    try:
        with session.link() as link:
            info: kernel.KernelInfo = link.call(kernel.INFO, kernel.Info())
    except SyscallError as failed:
        return Finding("kernel", "warn", failed.message, "'kernos up -d' starts a kernel")
    detail = f"kernos {info.version} (pid {info.pid}) answers at {path}, model {info.default_model}"
    if info.disabled:
        told = "; ".join(f"{what}: {why}" for what, why in info.disabled.items())
        return Finding(
            "kernel", "warn", f"{detail}; disabled: {told}", "mend the extension, then start the kernel anew"
        )
    mine = _installed()
    if mine and mine != info.version:
        return Finding("kernel", "warn", f"{detail}; this command line is {mine}", "'kernos down', then 'kernos up -d'")
    return Finding("kernel", "ok", detail)


def _elsewhere(session: Session) -> Finding:
    """Who answers at --host."""
    try:
        with session.link() as link:
            info: kernel.KernelInfo = link.call(kernel.INFO, kernel.Info())
    except SyscallError as failed:
        return Finding(
            "kernel", "fail", failed.message, "'kernos up --listen HOST:PORT' over there; see docs/operating.md"
        )
    return Finding("kernel", "ok", f"kernos {info.version} answers at {session.host}, model {info.default_model}")


def _dead(path: Path) -> Finding | None:
    """What is wrong with the socket file itself, or nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return Finding(
            "kernel", "warn", f"none runs at {path}", "'kernos up -d' starts one; 'kernos run' brings its own"
        )
    if not stat.S_ISSOCK(mode):
        return Finding("kernel", "fail", f"{path} is there and is no socket", "move it away, or choose --socket PATH")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return Finding("kernel", "warn", f"{path} is what a dead kernel left", "'kernos up -d' takes it over")
        except OSError as failed:
            return Finding("kernel", "fail", f"{path}: {failed.strerror}", "choose another with --socket PATH")
    return None


def _installed() -> str:
    try:
        return metadata.version("kernos")
    except metadata.PackageNotFoundError:
        return ""
