"""The system-call table: every row once, by number and by name."""

from collections.abc import Iterable

from syscalls.calls import (
    account,
    admission,
    capability,
    clock,
    command,
    context,
    device,
    file,
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
from syscalls.row import Row

FREE = frozenset(
    {
        "process.self", "process.output", "process.note", "process.signal", "process.sigwait",
        "message.receive", "message.pipe", "message.write", "message.read", "message.close",
        "capability.list", "capability.attenuate", "capability.request",
        "time.now", "time.sleep", "time.alarm", "time.timer", "time.cancel",
        "file.close", "device.close",
    }
)  # fmt: skip
"""The short list of calls that need no right: they touch nothing but the caller itself."""

RESERVED = {0x0B: "process.fork", 0x0C: "process.checkpoint"}
"""Numbers that are promised to calls which do not exist yet."""


def _index(rows: Iterable[Row]) -> dict[int, Row]:
    table: dict[int, Row] = {}
    for row in rows:
        assert row.number not in table and row.number not in RESERVED, f"number {row.number:#x} is taken"
        assert row.number not in plugin.PLUGIN_NUMBERS, f"number {row.number:#x} is set aside for packages"
        assert (row.needs is None) == (row.name in FREE), f"{row.name} must name a right or be on the short list"
        assert row.streams == (row.item is not None), f"{row.name} streams items of no type"
        table[row.number] = row
    return table


_FAMILIES = (
    process,
    command,
    signalling,
    context,
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
TABLE: dict[int, Row] = _index(row for family in _FAMILIES for row in family.ROWS)
BY_NAME: dict[str, Row] = {row.name: row for row in TABLE.values()}
