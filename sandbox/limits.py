"""Every bound of the sandbox, in one place."""

from typing import Final

PAYLOAD_BYTES_MAX: Final = 48 * 1024
"""What a worker may be told at its start. More than that goes over its socket."""

BINDS_MAX: Final = 64
"""Binds of one worker, and of one zygote: both together travel in one SCM_RIGHTS message (253)."""

GIVEN_MAX: Final = 8
"""Descriptors that a worker is given besides its socket, its output and its binds."""

MESSAGE_BYTES_MAX: Final = 128 * 1024
"""One message between the host's half, the zygote and a worker being set up."""

SETUP_S_MAX: Final = 20.0
"""From `spawn` to confined. It takes milliseconds; past this the zygote is taken for stuck."""

START_S_MAX: Final = 60.0
"""From exec to a zygote that serves: the imports of a cold disk lie in between."""

STOP_S_MAX: Final = 2.0
"""What a zygote gets to leave by itself before it is killed."""

ROOT_BYTES: Final = 64 * 1024
"""Size of the tmpfs that holds the skeleton of a worker's root (mount points, nothing else)."""

ROOT_INODES: Final = 2048
"""Files and folders of that skeleton."""

COMMAND_ROOT_BYTES: Final = 1024 * 1024
"""As ROOT_BYTES, for an executable: a few small files of /etc lie in it."""

COMMAND_TMP_BYTES: Final = 512 * 1024 * 1024
"""/tmp of an executable, in memory; as much again is /dev/shm."""

COMMAND_TMP_INODES: Final = 65536
"""Files and folders of /tmp."""

UID_BASE: Final = 1_880_000_000
"""As root, a worker's own uid is this plus its pid: unique while it lives, and in a range that no
distribution, systemd or container engine hands out (systemd's list of uid ranges)."""

UID_BASE_MIN: Final = 10_000
UID_BASE_MAX: Final = 2**32 - 2 - 2**22
"""Room for a pid above it, and off the uids that people and services have."""

SPAWNS_AT_ONCE_MAX: Final = 4
"""Requests that wait at one zygote; it serves them one by one, the rest wait in the kernel."""
