"""Where a kernel and its clients meet: the socket, the state folder and the configuration file, by the XDG rules."""

import os
from pathlib import Path

SOCKET_BYTES_MAX = 107
"""The kernel of the machine takes socket paths up to this (unix(7), sun_path less its NUL)."""


def runtime_dir() -> Path:
    """`$XDG_RUNTIME_DIR/kernos`, or a folder of this user's own under the temporary folder."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    return Path(given) / "kernos" if given else Path("/tmp") / f"kernos-{os.getuid()}"


def socket_path() -> Path:
    """`$KERNOS_SOCKET`, or `kernel.sock` in the runtime folder."""
    given = os.environ.get("KERNOS_SOCKET")
    return Path(given) if given else runtime_dir() / "kernel.sock"


def state_dir() -> Path:
    """`$XDG_STATE_HOME/kernos`: the truth, keys, logs."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "kernos"


def config_path() -> Path:
    """`$XDG_CONFIG_HOME/kernos/kernos.toml`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kernos" / "kernos.toml"
