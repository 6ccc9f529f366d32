"""What of the host an executable needs to run at all: where programs and libraries lie, and a few files of /etc.

Read-only, with the rights that everybody has: what only root may read there stays unread, also where the kernel is
root's. Never a home, never secrets of the host: /etc is made of these few, all else in it is made up.
"""

from __future__ import annotations

import os
from typing import Final

from msgspec import Struct

from sandbox.spec import Mount

_FOLDERS: Final = ("/usr", "/nix/store")
_BESIDE_USR: Final = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Links into /usr on most systems, and folders on older ones."""
_ETC: Final = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/ca-trust",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/protocols",
    "/etc/services",
)
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_FILES: Final = (
    ("/etc/passwd", "root:x:0:0:kernos:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/hosts", "127.0.0.1 localhost kernos\n::1 localhost\n"),
    ("/etc/hostname", "kernos\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("/etc/resolv.conf", "# no name server: the network is what was granted\n"),
)
_LINKS: Final = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/etc/mtab", "/proc/self/mounts"),
)

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs of the system are found."""

TAKEN: Final = ("/dev", "/proc", "/sys")
"""A command has its own, or none: nothing of the host's can be mounted there."""


class System(Struct, frozen=True):
    """The part of a command's root that is the same for all commands of this machine."""

    mounts: tuple[Mount, ...]
    links: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]


def system() -> System:
    """What this machine has of it."""
    folders = [path for path in (*_FOLDERS, *_BESIDE_USR, *_ETC) if os.path.exists(path)]
    links = [(path, os.readlink(path)) for path in _BESIDE_USR if os.path.islink(path)]
    linked = {path for path, _ in links}
    mounts = [Mount(path, "system") for path in folders if path not in linked]
    mounts += [Mount(path, "device") for path in _DEVICES if os.path.exists(path)]
    return System(tuple(mounts), (*links, *_LINKS), _FILES)
