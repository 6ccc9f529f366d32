"""How a command that failed ends: one sentence on stderr, and the exit code that shells and scripts know."""

import sys
from typing import NoReturn, final

from syscalls.errors import Errno, SyscallError

OK = 0
ERROR = 1
USAGE = 2
NOT_FOUND = 3
DENIED = 4
CONFLICT = 5
NO_CONNECTION = 6
TIMED_OUT = 124
KERNEL_FAILED = 125
INTERRUPTED = 130
NO_READER = 141

OF_ERRNO = {
    Errno.EPERM: DENIED,
    Errno.ENOENT: NOT_FOUND,
    Errno.ESRCH: NOT_FOUND,
    Errno.EINVAL: USAGE,
    Errno.EBUSY: CONFLICT,
    Errno.EPIPE: NO_CONNECTION,
    Errno.ETIME: TIMED_OUT,
    Errno.EIO: KERNEL_FAILED,
}


@final
class Failure(Exception):
    """A command cannot go on; the sentence says what to do, `code` is what the shell sees."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@final
class NoReader(Exception):
    """Nobody reads stdout any more, as in `kernos trace -f | head`."""


def code_of(error: SyscallError) -> int:
    """The exit code for a system call's error."""
    return OF_ERRNO.get(error.errno, ERROR)


def say(message: str) -> None:
    """A message for people: to stderr, under the program's name."""
    print(f"kernos: {message}", file=sys.stderr, flush=True)


def refuse(message: str) -> NoReturn:
    """The words of the command line make no sense."""
    raise Failure(message, USAGE)
