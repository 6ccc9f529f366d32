"""A worker's own descriptors, as a supervisor takes them to look at (pidfd_getfd)."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PIDFD_GETFD: Final = 438
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def taken(pidfd: int, number: int) -> Iterator[int]:
    """A duplicate of the worker's descriptor `number`, for as long as the block lasts. Raises OSError (EBADF)."""
    fd = int(_libc.syscall(_PIDFD_GETFD, pidfd, ctypes.c_int(number), 0))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        yield fd
    finally:
        os.close(fd)
