"""Landlock: what of the file system, TCP, signals and abstract sockets a domain may still touch."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import Final

from sandbox import libc

_SYS_CREATE_RULESET: Final = 444
_SYS_ADD_RULE: Final = 445
_SYS_RESTRICT_SELF: Final = 446
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1

_EXECUTE: Final = 1 << 0
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
# Those that a rule on a file, not a folder, can have: execute, write, read, truncate, ioctl_dev.
_OF_FILES: Final = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
# Rights on files that each ABI version knows, execute to ioctl_dev; what is handled and not granted is refused.
_FILE_RIGHTS_BITS: Final = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_RIGHTS_BITS_NEWEST: Final = 16
_TCP_BIND_AND_CONNECT: Final = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11


class _RulesetAttr(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi_version() -> int:
    """The Landlock ABI of the running system; 0 where there is none or it is switched off."""
    try:
        return libc.syscall("landlock_create_ruleset", _SYS_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


def restrict(readable: tuple[str, ...], listable: tuple[str, ...]) -> None:
    """Leaves this thread reading below `readable`, listing folders below `listable`, and nothing else.

    TCP bind and connect are refused from ABI 4, signals and abstract sockets to outside from ABI 6.
    Needs no_new_privs. Raises OSError; ENOSYS where the system has no Landlock.
    """
    abi = abi_version()
    if abi == 0:
        raise OSError(errno.ENOSYS, "Landlock is not active on this system")
    ruleset = _create(abi, tcp=True)
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in listable:
            _allow(ruleset, path, _READ_DIR)
        libc.syscall("landlock_restrict_self", _SYS_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def restrict_command(
    *, usable: tuple[str, ...], writable: tuple[str, ...], readable: tuple[str, ...], listable: tuple[str, ...]
) -> None:
    """Leaves this thread and what it executes reading and executing below `usable`, doing anything below `writable`,
    reading below `readable` and listing folders below `listable`. Raises as `restrict`."""
    abi = abi_version()
    if abi == 0:
        raise OSError(errno.ENOSYS, "Landlock is not active on this system")
    ruleset = _create(abi, tcp=False)
    everything = _file_rights(abi)
    try:
        for paths, rights in (
            (writable, everything),
            (usable, _EXECUTE | _READ_FILE | _READ_DIR),
            (readable, _READ_FILE | _READ_DIR),
            (listable, _READ_DIR),
        ):
            for path in paths:
                _allow(ruleset, path, rights)
        libc.syscall("landlock_restrict_self", _SYS_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _file_rights(abi: int) -> int:
    return (1 << _FILE_RIGHTS_BITS.get(abi, _FILE_RIGHTS_BITS_NEWEST)) - 1


def _create(abi: int, *, tcp: bool) -> int:
    attr = _RulesetAttr(
        fs=_file_rights(abi),
        net=_TCP_BIND_AND_CONNECT if tcp and abi >= 4 else 0,
        scoped=_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
    )
    size = 8 * (1 + (abi >= 4) + (abi >= 6))
    return libc.syscall("landlock_create_ruleset", _SYS_CREATE_RULESET, ctypes.byref(attr), size, 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except PermissionError:  # out of reach already, as folders of the host are where the layer `root` was left out
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(allowed=rights, parent_fd=parent)
        libc.syscall("landlock_add_rule", _SYS_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)
