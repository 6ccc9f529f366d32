"""Handles on devices: which process holds which device, and which holds one alone.

What is held alone is held against everybody: a call of another process, with a handle or without, is refused until the
handle is closed or its process has ended.
"""

from typing import Any, final

from kernel.process import Process
from syscalls.calls.device import DeviceKind
from syscalls.errors import Busy, NotFound, TryAgain


@final
class Handle:
    """A process' hold on `device`, or on one `collection` of a store."""

    __slots__ = ("alone", "collection", "device", "kind", "number", "pid")

    def __init__(
        self, number: int, pid: int, device: str, *, kind: DeviceKind, collection: str = "", alone: bool = False
    ) -> None:
        self.number = number
        self.pid = pid
        self.device = device
        self.kind = kind
        self.collection = collection
        self.alone = alone

    @property
    def held(self) -> tuple[str, str]:
        """What it is a hold on."""
        return self.device, self.collection


@final
class Handles:
    """All of them. `release` belongs in the process table's `at_end`."""

    def __init__(self, *, each_max: int) -> None:
        self._each_max = each_max
        self._handles: dict[int, Handle] = {}
        self._of: dict[int, set[int]] = {}
        self._on: dict[tuple[str, str], set[int]] = {}
        self._next = 1

    def open(
        self, process: Process, device: str, *, kind: DeviceKind, collection: str = "", alone: bool = False
    ) -> Handle:
        """A new handle. Raises Busy (EBUSY) if somebody holds it alone, or if it is wanted alone and somebody holds it;
        TryAgain (EAGAIN) for too many of one process."""
        others = self._on.get((device, collection), set())
        holder = next((self._handles[each] for each in others if alone or self._handles[each].alone), None)
        if holder is not None:
            raise Busy(_held(holder))
        if len(self._of.get(process.pid, ())) >= self._each_max:
            raise TryAgain(f"process {process.pid} has {self._each_max} device handles: close one")
        handle = Handle(self._next, process.pid, device, kind=kind, collection=collection, alone=alone)
        self._next += 1
        self._handles[handle.number] = handle
        self._of.setdefault(process.pid, set()).add(handle.number)
        self._on.setdefault(handle.held, set()).add(handle.number)
        return handle

    def get(self, process: Process, number: int) -> Handle:
        """A handle of the process. Raises NotFound (ENOENT), also for one of somebody else."""
        handle = self._handles.get(number)
        if handle is None or handle.pid != process.pid:
            raise NotFound(f"process {process.pid} has no device handle {number}: get one with device.open")
        return handle

    def admit(self, process: Process, device: str) -> None:
        """Lets a call without a handle in. Raises Busy (EBUSY) if another process holds the device alone."""
        for each in self._on.get((device, ""), ()):
            holder = self._handles[each]
            if holder.alone and holder.pid != process.pid:
                raise Busy(_held(holder))

    def close(self, process: Process, number: int) -> None:
        """Gives a handle back. Raises NotFound (ENOENT)."""
        handle = self.get(process, number)
        del self._handles[number]
        _leave(self._of, handle.pid, number)
        _leave(self._on, handle.held, number)

    def release(self, process: Process) -> None:
        """The process has ended: its handles are given back."""
        for number in tuple(self._of.get(process.pid, ())):
            self.close(process, number)

    def holders(self) -> set[int]:
        """The pids of the processes that hold something."""
        return set(self._of)

    def __len__(self) -> int:
        return len(self._handles)


def _held(holder: Handle) -> str:
    how = "alone" if holder.alone else "too"
    what = f"{holder.device} ({holder.kind})"
    return f"process {holder.pid} holds {what} {how}: wait until it closes it, or open it shared"


def _leave(table: dict[Any, set[int]], key: Any, number: int) -> None:
    table[key].discard(number)
    if not table[key]:
        del table[key]
