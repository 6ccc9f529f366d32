"""The same run from the same seed: the order of ready tasks, and the keys that page addresses come from."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio._core._run as trio_run

from kernel.seal import KEY_BYTES, Seals

PRINCIPALS = ("kernel", "test")


@contextlib.contextmanager
def order(seed: int) -> Iterator[None]:
    """While it lasts, trio's order of ready tasks follows from `seed` alone.

    trio shuffles on purpose and offers no public seed; hypothesis and pytest-trio turn the same two knobs.
    """
    knobs: Any = trio_run
    before, allowed = knobs._r.getstate(), knobs._ALLOW_DETERMINISTIC_SCHEDULING
    knobs._r.seed(seed)
    knobs._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        knobs._ALLOW_DETERMINISTIC_SCHEDULING = allowed
        knobs._r.setstate(before)


def keys(folder: Path, seed: int) -> Seals:
    """Keys that follow from `seed`, so that the same text has the same page address in every run of a test."""
    folder.mkdir(mode=0o700)
    for principal in PRINCIPALS:
        key = hashlib.blake2b(f"{seed} {principal}".encode(), digest_size=KEY_BYTES).digest()
        (folder / f"{principal}.key").write_bytes(key)
        (folder / f"{principal}.key").chmod(0o600)
    return Seals(folder)
