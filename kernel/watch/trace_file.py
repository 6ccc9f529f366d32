"""The trace on disk: JSON lines behind the ring, without arguments, results and texts of events.

What a call was asked and answered is a person's, and nothing of that lies on disk in the clear; so the file says who
called what when, what it cost and how it ended. It is written in batches, without fsync and without a thread: an append
to the page cache is no wait worth one. A disk that is full costs the file some records, which are counted, and nobody
else anything.
"""

import errno
import os
from pathlib import Path
from typing import final

import msgspec
import trio
from msgspec.structs import replace

from kernel.config import TraceConfig
from kernel.watch.trace import Trace
from syscalls.calls.kernel import TraceRecord
from syscalls.errors import IOFailed

BATCH_S = 0.25
_KEPT_DETAILS = frozenset(
    {"parent", "name", "status", "code", "signal", "device", "host", "restarts", "limit", "type", "version"}
)
_LINES = msgspec.json.Encoder()


@final
class TraceFile:
    """Follows the ring until cancelled. Raises IOFailed (EIO) when the file cannot be made; `lost` counts records that
    never reached it."""

    def __init__(self, path: Path, config: TraceConfig, trace: Trace) -> None:
        self._path = path
        self._config = config
        self._trace = trace
        try:
            self._file = _open(path)
        except OSError as failed:
            raise IOFailed(f"the trace file {path} cannot be written: {failed.strerror}; see [trace] file") from None
        self._size = os.fstat(self._file).st_size
        self._written = 0
        self.lost = 0

    async def run(self) -> None:
        """Writes what comes; a last time when it is cancelled."""
        try:
            while True:
                await self._trace.changed()
                await trio.sleep(BATCH_S)
                self.flush()
        finally:
            self.flush()
            os.close(self._file)

    def flush(self) -> None:
        """Writes what the ring has got since the last time."""
        oldest = self._written + 1
        lines = bytearray()
        for record in self._trace.since(self._written):
            self.lost += record.seq - oldest
            oldest = record.seq + 1
            lines += _LINES.encode(_bare(record)) + b"\n"
        self._written = self._trace.newest
        if lines:
            self._write(lines)

    def _write(self, lines: bytearray) -> None:
        try:
            if self._size and self._size + len(lines) > self._config.rotate_bytes:
                self._rotate()
            if os.write(self._file, lines) < len(lines):
                os.ftruncate(self._file, self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += len(lines)
        except OSError as failed:
            self.lost += lines.count(b"\n")
            self._trace.event("trace_file", error=f"{self._path}: {failed.strerror}", lost=self.lost)
            self._written = self._trace.newest

    def _rotate(self) -> None:
        """FILE becomes FILE.1, that FILE.2 and so on; the last is given up."""
        for number in range(self._config.files_max - 1, 0, -1):
            older = self._name(number - 1)
            if older.exists():
                older.replace(self._name(number))
        if self._config.files_max == 1:
            self._path.unlink(missing_ok=True)
        full, self._file = self._file, _open(self._path)
        os.close(full)
        self._size = 0

    def _name(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _bare(record: TraceRecord) -> TraceRecord:
    """The record without what people said: arguments, results, sentences, texts of events."""
    kept = {key: text for key, text in record.detail.items() if key in _KEPT_DETAILS}
    return replace(record, args="", result="", detail=kept)
