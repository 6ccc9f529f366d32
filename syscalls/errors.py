"""The errors that cross the ABI: one number, one class, one sentence that says what to do."""

from enum import IntEnum
from typing import final


@final
class Errno(IntEnum):
    """What went wrong with a system call. Numbers are never re-used."""

    EPERM = 1
    ENOENT = 2
    ESRCH = 3
    EINVAL = 4
    EAGAIN = 5
    EBUSY = 6
    EQUOTA = 7
    ETIME = 8
    ECANCELED = 9
    EPIPE = 10
    EIO = 11
    ENOSYS = 12
    EWINDOW = 13
    EUNKNOWN = 14
    EREPLAY = 15
    EFENCED = 16
    ELIMIT = 17


class SyscallError(Exception):
    """A system call was refused or failed.

    `errno` says what kind, `message` what happened and what to do. Subclasses carry the closest built-in exception as a
    second base, so that `except TimeoutError` catches ETIME. Make one with `syscall_error`, catch the class you mean.
    """

    errno: Errno

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.errno.name}: {self.message}"


class PermissionDenied(SyscallError, PermissionError):
    """EPERM: the caller lacks the right; the message names it and how to grant it."""

    errno = Errno.EPERM


class NotFound(SyscallError, LookupError):
    """ENOENT: no such model, context, page, device, program or file."""

    errno = Errno.ENOENT


class NoSuchProcess(SyscallError, ProcessLookupError):
    """ESRCH: no such process, or it is gone."""

    errno = Errno.ESRCH


class Invalid(SyscallError, ValueError):
    """EINVAL: the arguments do not fit the row of the table."""

    errno = Errno.EINVAL


class TryAgain(SyscallError, BlockingIOError):
    """EAGAIN: the kernel or a device cannot take this now; nothing was done."""

    errno = Errno.EAGAIN


class Busy(SyscallError, RuntimeError):
    """EBUSY: somebody else holds it."""

    errno = Errno.EBUSY


class OverQuota(SyscallError, MemoryError):
    """EQUOTA: the account, or one above it, cannot pay for the worst case."""

    errno = Errno.EQUOTA


class TimedOut(SyscallError, TimeoutError):
    """ETIME: the deadline passed."""

    errno = Errno.ETIME


class Canceled(SyscallError, RuntimeError):
    """ECANCELED: the call was cancelled from elsewhere."""

    errno = Errno.ECANCELED


class BrokenPipe(SyscallError, BrokenPipeError):
    """EPIPE: the other end is gone."""

    errno = Errno.EPIPE


class IOFailed(SyscallError, OSError):
    """EIO: a disk, a host or a device failed."""

    errno = Errno.EIO


class NoSyscall(SyscallError, NotImplementedError):
    """ENOSYS: no such call, or this device cannot do it."""

    errno = Errno.ENOSYS


class OverWindow(SyscallError, ValueError):
    """EWINDOW: it cannot fit the model's window; the message has the exact numbers."""

    errno = Errno.EWINDOW


class OutcomeUnknown(SyscallError, RuntimeError):
    """EUNKNOWN: an effect was begun and its outcome is not known."""

    errno = Errno.EUNKNOWN


class ReplayDiverged(SyscallError, RuntimeError):
    """EREPLAY: a resumed program took another path than its journal."""

    errno = Errno.EREPLAY


class Fenced(SyscallError, RuntimeError):
    """EFENCED: a newer life of this process or kernel has taken over."""

    errno = Errno.EFENCED


class OverLimit(SyscallError, RuntimeError):
    """ELIMIT: a worker ran into a limit of its own on the machine: memory, descriptors, processor time, …"""

    errno = Errno.ELIMIT


_CLASSES: tuple[type[SyscallError], ...] = (
    PermissionDenied,
    NotFound,
    NoSuchProcess,
    Invalid,
    TryAgain,
    Busy,
    OverQuota,
    TimedOut,
    Canceled,
    BrokenPipe,
    IOFailed,
    NoSyscall,
    OverWindow,
    OutcomeUnknown,
    ReplayDiverged,
    Fenced,
    OverLimit,
)
CLASS_OF: dict[Errno, type[SyscallError]] = {cls.errno: cls for cls in _CLASSES}


def syscall_error(errno: int, message: str) -> SyscallError:
    """The exception for `errno`; a number this ABI does not know (a newer peer's) becomes EIO and says so."""
    try:
        return CLASS_OF[Errno(errno)](message)
    except ValueError:
        return IOFailed(f"error {errno} of a newer ABI: {message}")


def farewell(reason: str) -> SyscallError:
    """Why the other end said BYE, as an error: a reason that begins with an errno's name is of that class, any other is
    EPIPE."""
    name, colon, rest = reason.partition(": ")
    if colon and name in Errno.__members__:
        return syscall_error(Errno[name], rest)
    return BrokenPipe(reason or "the other end closed the link")
