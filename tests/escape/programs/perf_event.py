"""Counts what the processor does, also for others."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    attr = (
        (1).to_bytes(4, "little")
        + (128).to_bytes(4, "little")
        + (1).to_bytes(8, "little")
        + bytes(24)
        + (0x61).to_bytes(8, "little")
        + bytes(80)
    )
    return raw("perf_event_open", attr, 0, -1, -1, 0) > 2


def proof(stage: dict[str, Any]) -> object:
    return True
