"""openat2(2): opening a path below a folder so that nothing in it, links and races included, leads out of the folder.

A check of the path's text before an ordinary open is a race: between the two, whoever may rename below the folder puts
a link where a folder was. Here the machine's kernel walks the path itself, one component after another, from a
descriptor of the folder, and refuses the step that leaves it (EXDEV). glibc has no wrapper, so the call is made by
number; it is the same on every architecture.
"""

import ctypes
import errno
import os
import secrets
import struct
from typing import Final

from syscalls.errors import NoSyscall, TryAgain

_SYS_OPENAT2: Final = 437
NO_MAGICLINKS: Final = 0x02
NO_SYMLINKS: Final = 0x04
BENEATH: Final = 0x08
IN_ROOT: Final = 0x10
RACES_MAX: Final = 64
"""How often a walk is begun anew when somebody renames along the way."""

_libc = ctypes.CDLL(None, use_errno=True)


_how = struct.Struct("=3Q")  # struct open_how: flags, mode, resolve


def open_beneath(folder: int, path: str, flags: int, *, resolve: int, mode: int = 0) -> int:
    """A descriptor of `path`, walked from the descriptor `folder` under `resolve`; never inherited.

    Raises OSError with the walk's errno (EXDEV: it leaves the folder; ELOOP: a link that is not to be followed),
    NoSyscall where the machine has no openat2, TryAgain when renames keep it from getting anywhere."""
    how = _how.pack(flags | os.O_CLOEXEC, mode, resolve | NO_MAGICLINKS)
    name = os.fsencode(path)
    if b"\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    for _ in range(RACES_MAX):
        found = int(_libc.syscall(_SYS_OPENAT2, folder, name, how, _how.size))
        if found >= 0:
            return found
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise NoSyscall("this machine has no openat2 (Linux 5.6, or a sandbox that lets it pass): no file is safe")
        if code not in (errno.EAGAIN, errno.EINTR):
            raise OSError(code, os.strerror(code), path)
    raise TryAgain(f"{path}: folders above it are renamed all the time: try again")


def probe() -> str:
    """Why openat2 cannot be used here, or nothing: it must open, and it must refuse to leave."""
    folder = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        inner = open_beneath(folder, "proc", os.O_PATH | os.O_DIRECTORY, resolve=BENEATH)
        try:
            os.close(open_beneath(inner, "..", os.O_PATH, resolve=BENEATH))
        except OSError as refused:
            return "" if refused.errno == errno.EXDEV else f"leaving a folder is refused with {refused.strerror}"
        finally:
            os.close(inner)
    except NoSyscall as missing:
        return missing.message
    except OSError as failed:
        return f"openat2: {failed.strerror}"
    finally:
        os.close(folder)
    return "openat2 lets a path leave its folder"


def scratch_name() -> str:
    """A name for a file that is written before it takes another's place."""
    return f".kernos-{secrets.token_hex(8)}"


if __name__ == "__main__":  # for `kernos doctor`
    print(probe())
