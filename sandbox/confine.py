"""What a worker gives up once it is behind its walls: identity, capabilities, resources, files, calls."""

from __future__ import annotations

import os
import resource
import signal
from typing import Final

from sandbox import landlock, libc
from sandbox.spec import Bind, Limits, Mount

# noroot, no_setuid_fixup, keep_caps off and no_cap_ambient_raise, each locked: uid 0 inside means nothing.
_SECUREBITS: Final = 0b1110_1111


def take_identity() -> None:
    """Becomes the one uid and gid that the user namespace maps, in all three places."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.umask(0o022)


def bound_capabilities() -> None:
    """Nothing that is executed from here on has a capability; what this process has it keeps."""
    libc.drop_bounding_set()


def drop_capabilities() -> None:
    """Leaves no capability in any set; the bounding set is empty already."""
    libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_CLEAR_ALL)
    libc.prctl(libc.PR_SET_SECUREBITS, _SECUREBITS)
    libc.drop_all_capabilities()


def forbid_privileges() -> None:
    """no_new_privs: nothing that is executed from here on gains anything."""
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)


def set_limits(limits: Limits, *, core_bytes: int = 0) -> None:
    """rlimits, soft and hard alike; never above what this process was given. `core_bytes` 1 is for who could be dumped:
    with 0 a core that goes to a program (core_pattern) is written still, with 1 none is."""
    wanted = {
        resource.RLIMIT_CPU: limits.cpu_s,
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_CORE: core_bytes,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if limits.data_bytes is not None:
        wanted[resource.RLIMIT_DATA] = limits.data_bytes
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (bound, bound))


def die_with_parent() -> None:
    """SIGKILL when the kernel ends. Credential changes clear it, so this comes after the last of them.

    The usual look at getppid() says nothing in a pid namespace; that the kernel was alive is shown by
    the report that follows, which fails if nobody is there to read it.
    """
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)


def restrict_files(binds: tuple[Bind, ...]) -> None:
    """Landlock: reads below the binds, and folders of the skeleton can be listed (imports need that)."""
    landlock.restrict(readable=tuple(bind.target for bind in binds), listable=("/",))


def restrict_command(mounts: tuple[Mount, ...]) -> None:
    """Landlock for a command: what it was given, as it was given it, and the folders that are its own. Its network
    is its own, so TCP is left to it."""
    landlock.restrict_command(
        usable=tuple(mount.path for mount in mounts if mount.kind in ("system", "read")),
        writable=("/tmp", "/dev", *(mount.path for mount in mounts if mount.kind == "write")),
        readable=("/proc", "/etc"),
        listable=("/",),
    )


def be_readable() -> None:
    """Lets whoever has this uid, or rules over it, read and write its memory and take its descriptors: how a supervisor
    knows what is asked of it. There is no core all the same."""
    libc.prctl(libc.PR_SET_DUMPABLE, 1)


def restrict_calls(program: bytes) -> None:
    """The system-call filter. Nothing may be set up after this."""
    libc.set_filter(program)


def restrict_and_listen(program: bytes) -> int:
    """As `restrict_calls`, for a filter with calls that wait for an answer: the descriptor to answer them on."""
    return libc.set_filter_listening(program)
