"""Which limit of its worker a program ran into, by what it raised."""

import errno
import resource

from syscalls.errors import OverLimit, SyscallError
from syscalls.worker_limits import show_limit

_BY_ERRNO = {
    errno.ENOMEM: ("memory_bytes", resource.RLIMIT_AS),
    errno.EMFILE: ("files", resource.RLIMIT_NOFILE),
    errno.EFBIG: ("file_bytes", resource.RLIMIT_FSIZE),
    errno.EAGAIN: ("processes", resource.RLIMIT_NPROC),
}
_NO_THREAD = "can't start new thread"


def overrun(cause: BaseException) -> OverLimit | None:
    """ELIMIT with the limit's name and amount, or None where it was none."""
    if isinstance(cause, SyscallError):
        return None
    match cause:
        case MemoryError():
            found = _BY_ERRNO[errno.ENOMEM]
        case BlockingIOError(filename=None) if cause.errno == errno.EAGAIN and "Resource" in str(cause):
            found = _BY_ERRNO[errno.EAGAIN]
        case RuntimeError() if str(cause) == _NO_THREAD:
            found = _BY_ERRNO[errno.EAGAIN]
        case OSError() if cause.errno in _BY_ERRNO and cause.errno != errno.EAGAIN:
            found = _BY_ERRNO[cause.errno]
        case _:
            return None
    field, kind = found
    return OverLimit(f"{show_limit(field, resource.getrlimit(kind)[0])} is all that this worker may have")
