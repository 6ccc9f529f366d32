"""How processes end: the exit of one that was lost, ended, or failed."""

from kernel.process import Process
from syscalls.calls.process import Exit
from syscalls.errors import Errno, SyscallError

_CODES = {"killed": 137, "terminated": 143, "timed_out": 124, "over_quota": 1, "over_limit": 1}
_STATUS_OF_ERRNO = {Errno.EQUOTA: "over_quota", Errno.ELIMIT: "over_limit"}
_CODE_OF_ERRNO = {Errno.EPERM: 4, Errno.ENOENT: 3, Errno.ESRCH: 3}


def lost(process: Process) -> Exit:
    """Its worker died, and it with it."""
    error = f"WORKER_LOST: the worker of {process.name} died under it"
    return Exit(pid=process.pid, status="worker_lost", code=125, error=error)


def ended(process: Process, why: str) -> Exit:
    """It was made to end."""
    return Exit(
        pid=process.pid, status=why, code=_CODES.get(why, 1), error=f"{process.name} was ended: {process.over or why}"
    )


def failure(process: Process, error: SyscallError) -> Exit:
    """It raised, or never began."""
    status = _STATUS_OF_ERRNO.get(error.errno, "failed")
    code = 2 if error.message.startswith("usage:") else _CODE_OF_ERRNO.get(error.errno, 1)
    return Exit(pid=process.pid, status=status, code=code, error=str(error))
