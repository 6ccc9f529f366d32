"""The memory of a worker, of which each argument is read once."""

import errno
import os
from typing import Final, final

PATH_BYTES_MAX: Final = 4096
_PIECE_BYTES: Final = 256


class Fault(OSError):
    """EFAULT: there is nothing to read or write at that address."""

    def __init__(self) -> None:
        super().__init__(errno.EFAULT, os.strerror(errno.EFAULT))


@final
class Memory:
    """Of the process `pid`, which must be alive: it stays that one's whoever has the pid later."""

    def __init__(self, pid: int) -> None:
        self._file = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def path(self, address: int) -> str:
        """A C string, as a path. Raises Fault, or OSError (ENAMETOOLONG)."""
        data = self.read(address, _PIECE_BYTES)
        end, wanted = data.find(b"\0"), _PIECE_BYTES
        while end < 0:  # each byte of it is read once, in pieces: most paths are short
            if len(data) < wanted:
                raise Fault
            if len(data) >= PATH_BYTES_MAX:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            more = PATH_BYTES_MAX - len(data)
            wanted += more
            data += self.read(address + len(data), more)
            end = data.find(b"\0")
        return os.fsdecode(data[:end])

    def read(self, address: int, count: int) -> bytes:
        """Up to `count` bytes, fewer where the memory ends; at least one."""
        try:
            data = os.pread(self._file, count, address)
        except (OSError, OverflowError):
            raise Fault from None
        if not data:
            raise Fault
        return data

    def exactly(self, address: int, count: int) -> bytes:
        """`count` bytes."""
        data = self.read(address, count)
        if len(data) < count:
            raise Fault
        return data

    def write(self, address: int, data: bytes) -> None:
        """All of it. Raises Fault."""
        try:
            written = os.pwrite(self._file, data, address)
        except (OSError, OverflowError):
            raise Fault from None
        if written < len(data):
            raise Fault

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._file)
