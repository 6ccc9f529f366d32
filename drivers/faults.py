"""The table by which a driver's exceptions become errors of the ABI, at the host's border and nowhere else."""

from syscalls.errors import CLASS_OF, Errno, SyscallError

SENTENCE_CHARS_MAX = 500

TABLE: tuple[tuple[type[BaseException], Errno], ...] = (
    (FileNotFoundError, Errno.ENOENT),
    (PermissionError, Errno.EPERM),
    (TimeoutError, Errno.ETIME),
    (NotImplementedError, Errno.ENOSYS),
    (MemoryError, Errno.EAGAIN),
    (UnicodeError, Errno.EINVAL),
    (ValueError, Errno.EINVAL),
)
"""The first row that fits decides; what fits none is EIO."""

PLAIN = frozenset({Errno.ENOENT, Errno.EINVAL})
"""Errors whose message is for the caller as it is; others are told with the exception's name."""


def as_syscall_error(error: BaseException) -> SyscallError:
    """The error to answer with; a SyscallError passes as it is."""
    if isinstance(error, SyscallError):
        return error
    errno = next((number for kind, number in TABLE if isinstance(error, kind)), Errno.EIO)
    line = first_line(error)
    if not line or errno not in PLAIN:
        line = f"{type(error).__name__}: {line}" if line else type(error).__name__
    return CLASS_OF[errno](line)


def first_line(error: BaseException) -> str:
    """The first line of what an exception says that is not blank, cut to a sentence's length."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), "")[:SENTENCE_CHARS_MAX]
