"""Who serves which row: the families of `kernel/sys`, each number once."""

from kernel.gate import Handler
from kernel.sys import (
    account,
    admission,
    capability,
    clock,
    command,
    context,
    device,
    file,
    generate,
    kernel,
    message,
    model,
    net,
    package,
    plugin,
    process,
    signalling,
    watch,
)

FAMILIES = (
    process,
    command,
    signalling,
    context,
    generate,
    model,
    message,
    device,
    file,
    net,
    clock,
    capability,
    account,
    kernel,
    admission,
    watch,
    package,
    plugin,
)


def handlers() -> dict[int, Handler]:
    """Every row's handler."""
    bound: dict[int, Handler] = {}
    for family in FAMILIES:
        for number, handler in family.HANDLERS.items():
            assert number not in bound, f"{family.__name__} binds {number:#x} again"
            bound[number] = handler
    return bound
