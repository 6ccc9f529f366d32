"""Fills a disk, where everybody may write."""

import os
from typing import Any

REFUSED_BY = ("root", "landlock", "limits")


def attempt(stage: dict[str, Any]) -> object:
    fd = os.open(f"/tmp/kernos-fill-{stage['nonce']}", os.O_CREAT | os.O_WRONLY)
    return sum(os.write(fd, b"x" * (1 << 20)) for _ in range(64))


def proof(stage: dict[str, Any]) -> object:
    return 64 << 20
