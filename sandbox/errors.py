"""What goes wrong when a worker is made: whose fault it was, and at which layer."""

from __future__ import annotations


class JailError(Exception):
    """A layer of the jail could not be put up, so the worker was not started.

    `layer` is one of `sandbox.spec.LAYERS`, or `zygote`, `clone`, `fds` for the way there.
    """

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(f"{layer}: {reason}")
        self.layer = layer
        self.reason = reason


class ZygoteGone(Exception):
    """The zygote died. Living workers are untouched; start a new zygote and ask it again."""
