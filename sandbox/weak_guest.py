"""A worker without a jail, from its first line to its entry: it takes its limits, and follows its parent.

Runs on any Unix: nothing here, and nothing that it imports before its entry, is of one system alone.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import threading
import time
from typing import Final

import msgspec

from sandbox.spec import WorkerSpec

LOOK_S: Final = 0.5
"""So often it looks whether its parent is still there."""
_AFTER_S: Final = 2
"""From the signal that says that the processor time is used up to the one that cannot be caught."""


def main(fd: int, told: str) -> int:
    """Runs what `told`, a WorkerSpec as JSON, asks for, with the socket `fd`."""
    spec = msgspec.json.decode(told, type=WorkerSpec)
    parent = os.getppid()
    take_limits(spec)
    threading.Thread(target=_follow, args=(parent,), name="parent", daemon=True).start()
    module, _, name = spec.entry.partition(":")
    sys.argv = [spec.entry]
    entry = getattr(importlib.import_module(module), name)
    return int(entry(fd, spec.payload) or 0)


def take_limits(spec: WorkerSpec) -> tuple[str, ...]:
    """Sets those that this system keeps, and names them. Processes are counted for a whole user here, so they are not
    limited: the user's own would count."""
    limits = spec.limits
    wanted = {
        "RLIMIT_CPU": (limits.cpu_s, limits.cpu_s + _AFTER_S),
        "RLIMIT_AS": (limits.memory_bytes, limits.memory_bytes),
        "RLIMIT_NOFILE": (limits.files, limits.files),
        "RLIMIT_FSIZE": (limits.file_bytes, limits.file_bytes),
        "RLIMIT_CORE": (0, 0),
    }
    kept = []
    for name, bounds in wanted.items():
        kind = getattr(resource, name, None)
        if kind is not None and _bounded(kind, *bounds):
            kept.append(name)
    return tuple(kept)


def _bounded(kind: int, soft: int, hard: int) -> bool:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    try:
        resource.setrlimit(kind, (soft, hard))
    except (OSError, ValueError):
        return False
    return True


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os.killpg(0, signal.SIGKILL)
