"""The pytest plugin: programs run under a whole kernel, in this process, on a scripted model and a virtual clock.

    def test_hello(kernel):
        assert kernel.run(hello, "Ada", script=["Hello, Ada."]) == "Hello, Ada."
        assert kernel.printed == "Hello, Ada."

A script is what the model says, in order; an entry may call tools (`calls("recall", query="x")`) or answer what it is
asked (`Reply(match="regex", …)` as a dict). Every `kernel.run` boots a kernel of its own, and ends by checking the
kernel's invariants. Nothing here is a mock: gate, scheduler, pager and accounts are the real ones; only the jail, the
disk and the weights are left out. Time passes at once: a program that sleeps an hour takes no time.

Tests that are async themselves (pytest-trio with `autojump_clock`) use `async with kernos.testing.up() as machine`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # the kernel is heavy, and every pytest run loads this file
    from kernos.testing.machine import InProcess
    from kernos.testing.runs import Kernel

__all__ = ["calls", "kernel", "up"]


def calls(name: str, **arguments: Any) -> dict[str, Any]:
    """A scripted reply that calls a tool."""
    return {"calls": [{"name": name, "arguments": arguments}]}


def up(**options: Any) -> "InProcess":
    """A kernel in this process, for async tests: `async with up(script=[…]) as machine`. Options are InProcess's."""
    from kernos.testing.machine import InProcess

    return InProcess(**options)


@pytest.fixture
def kernel() -> Iterator["Kernel"]:
    """Runs programs under a kernel in this process: see `Kernel.run`."""
    from kernos.testing.runs import Kernel

    yield Kernel()
