"""Pipes: bounded queues of bytes between processes; whoever reads too slowly holds up whoever writes."""

from typing import Literal, final

import trio

from kernel.process import Process
from syscalls.errors import BrokenPipe, NotFound, TryAgain

CAPACITY_BYTES_MAX = 1 << 20

End = Literal["reader", "writer"]


@final
class Pipe:
    """One pipe: what is in it, and which processes hold an end."""

    __slots__ = ("_held", "capacity_bytes", "changed", "holders", "id", "writing")

    def __init__(self, id_: int, capacity_bytes: int) -> None:
        self.id = id_
        self.capacity_bytes = capacity_bytes
        self.holders: dict[End, set[int]] = {"reader": set(), "writer": set()}
        self.changed = trio.Event()
        # Held for the whole of a write, so that what two write at once is never mixed.
        self.writing = trio.Lock()
        # One array, not a queue of what was written: a million writes of a byte must cost its reader nothing.
        self._held = bytearray()

    @property
    def size(self) -> int:
        """How many bytes are in it."""
        return len(self._held)

    def put(self, data: memoryview) -> int:
        """Takes as much of `data` as there is room for; how much."""
        piece = data[: self.capacity_bytes - self.size]
        if piece:
            self._held += piece
            self.stir()
        return len(piece)

    def take(self, bytes_max: int) -> bytes:
        """Gives at most so many of the oldest bytes."""
        taken = bytes(self._held[:bytes_max])
        if taken:
            del self._held[:bytes_max]
            self.stir()
        return taken

    def stir(self) -> None:
        """Wakes whoever waits for data, for room or for the end."""
        changed, self.changed = self.changed, trio.Event()
        changed.set()


@final
class Pipes:
    """All pipes. An end is the process's that made the pipe or was given it: a number alone opens nothing."""

    def __init__(self, *, pipes_max: int) -> None:
        self._max = pipes_max
        self._pipes: dict[int, Pipe] = {}
        self._of: dict[int, set[int]] = {}
        self._next = 1

    def make(self, process: Process, capacity_bytes: int) -> Pipe:
        """A pipe with both ends at `process`. Raises TryAgain (EAGAIN) beyond what one may have."""
        self._room(process)
        pipe = Pipe(self._next, capacity_bytes)
        self._next += 1
        self._pipes[pipe.id] = pipe
        self._hand(pipe, "reader", process)
        self._hand(pipe, "writer", process)
        return pipe

    def get(self, process: Process, id_: int, end: End) -> Pipe:
        """The pipe of which `process` has that end. Raises NotFound (ENOENT)."""
        pipe = self._pipes.get(id_)
        if pipe is None or process.pid not in pipe.holders[end]:
            raise NotFound(f"process {process.pid} has no {end}'s end of pipe {id_}: make one, or be given it")
        return pipe

    def give(self, giver: Process, id_: int, end: End, to: Process, *, keep: bool) -> None:
        """Hands an end on. Raises NotFound (ENOENT), TryAgain (EAGAIN) when `to` has as many pipes as it may."""
        pipe = self.get(giver, id_, end)
        if id_ not in self._of.get(to.pid, ()):
            self._room(to)
        self._hand(pipe, end, to)
        if not keep and to is not giver:
            self._drop(pipe, end, giver.pid)

    def close(self, process: Process, id_: int, end: End | None) -> None:
        """Gives up an end, or both. Raises NotFound (ENOENT)."""
        ends: tuple[End, ...] = ("reader", "writer") if end is None else (end,)
        held = [e for e in ends if id_ in self._pipes and process.pid in self._pipes[id_].holders[e]]
        if not held:
            raise NotFound(f"process {process.pid} has no end of pipe {id_} to close")
        pipe = self._pipes[id_]
        for each in held:
            self._drop(pipe, each, process.pid)

    def release(self, process: Process) -> None:
        """A process has ended: what it has of pipes is closed."""
        for id_ in tuple(self._of.get(process.pid, ())):
            self.close(process, id_, None)

    async def write(self, process: Process, id_: int, data: bytes) -> None:
        """Puts all of `data` in, waiting for room. Raises NotFound, or BrokenPipe (EPIPE) once nobody can read it."""
        pipe = self.get(process, id_, "writer")
        left = memoryview(data)
        async with pipe.writing:
            while True:
                self.get(process, id_, "writer")
                if not pipe.holders["reader"]:
                    raise BrokenPipe(f"nobody has the reader's end of pipe {id_} any more: stop writing")
                left = left[pipe.put(left) :]
                if not left:
                    return
                await pipe.changed.wait()

    async def read(self, process: Process, id_: int, bytes_max: int) -> bytes:
        """What is there, at most `bytes_max`, waiting for the first byte; empty at the end. Raises NotFound."""
        while True:
            pipe = self.get(process, id_, "reader")
            if pipe.size or not pipe.holders["writer"]:
                return pipe.take(bytes_max)
            await pipe.changed.wait()

    def __len__(self) -> int:
        return len(self._pipes)

    def _room(self, process: Process) -> None:
        if len(self._of.get(process.pid, ())) >= self._max:
            raise TryAgain(f"process {process.pid} has {self._max} pipes: close some, or raise bounds.pipes_max")

    def _hand(self, pipe: Pipe, end: End, to: Process) -> None:
        pipe.holders[end].add(to.pid)
        self._of.setdefault(to.pid, set()).add(pipe.id)

    def _drop(self, pipe: Pipe, end: End, pid: int) -> None:
        pipe.holders[end].discard(pid)
        if all(pid not in held for held in pipe.holders.values()):
            self._of[pid].discard(pipe.id)
            if not self._of[pid]:
                del self._of[pid]
        if not any(pipe.holders.values()):
            del self._pipes[pipe.id]
        pipe.stir()
