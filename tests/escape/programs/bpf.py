"""Makes a map in the kernel."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "capabilities", "user")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    return (
        raw(
            "bpf",
            0,
            (2).to_bytes(4, "little")
            + (4).to_bytes(4, "little")
            + (8).to_bytes(4, "little")
            + (1).to_bytes(4, "little")
            + bytes(100),
            116,
        )
        > 2
    )


def proof(stage: dict[str, Any]) -> object:
    return True
