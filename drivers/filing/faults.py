"""What the machine says of a path, as an error of the ABI whose sentence says what to do."""

import errno
import os

from syscalls.errors import (
    Busy,
    Invalid,
    IOFailed,
    NotFound,
    PermissionDenied,
    SyscallError,
    TryAgain,
)

TABLE: dict[int, tuple[type[SyscallError], str]] = {
    errno.ENOENT: (NotFound, "no such file or folder"),
    errno.ENOTDIR: (Invalid, "a part of it is a file, not a folder"),
    errno.EISDIR: (Invalid, "it is a folder: list it, or name a file in it"),
    errno.EXDEV: (PermissionDenied, "it leads out of the folder that the right names"),
    errno.ELOOP: (PermissionDenied, "a link in it is not followed: name what the link leads to"),
    errno.EACCES: (PermissionDenied, "the file's own permissions keep the kernel's user out: see its owner and mode"),
    errno.EPERM: (PermissionDenied, "the machine does not allow it: see the file's owner, mode and flags"),
    errno.EROFS: (PermissionDenied, "it lies on a file system that is read-only"),
    errno.ENOSPC: (IOFailed, "the disk is full: free some space"),
    errno.EDQUOT: (IOFailed, "the disk quota of the kernel's user is used up: free some space"),
    errno.EEXIST: (Busy, "it is there already"),
    errno.ENOTEMPTY: (Busy, "the folder is not empty: remove what is in it first"),
    errno.EBUSY: (Busy, "it is in use, as the root of a mount for instance"),
    errno.ETXTBSY: (Busy, "it is a program that is running"),
    errno.ENAMETOOLONG: (Invalid, "the name is too long: 255 bytes each, 4095 in all"),
    errno.EFBIG: (Invalid, "the file would be larger than its file system takes"),
    errno.EMFILE: (TryAgain, "too many files are open: close some"),
    errno.ENFILE: (TryAgain, "too many files are open on this machine: close some"),
    errno.EINVAL: (Invalid, "the file system does not take that name or place"),
}
"""Everything else is EIO with the machine's own words."""


def told(failed: OSError, path: str) -> SyscallError:
    """The error for what the machine said of `path`."""
    kind, sentence = TABLE.get(failed.errno or 0, (IOFailed, failed.strerror or str(failed)))
    return kind(f"{path}: {sentence}")


def reached_by_link(root: str) -> SyscallError:
    """The root of a tree is, or lies behind, a link."""
    real = os.path.realpath(root)
    return PermissionDenied(f"{root} is reached through a link, and a right means no more than it says: name {real}")
