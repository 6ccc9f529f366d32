"""Where a kernel and its clients meet: the socket, the folders and the configuration file, by the XDG rules."""

import os
from pathlib import Path

from syscalls.errors import Invalid

PACKAGES = "packages"
"""The folder of installed packages in the state folder."""
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


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/kernos`: what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kernos"


def config_path() -> Path:
    """`$XDG_CONFIG_HOME/kernos/kernos.toml`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kernos" / "kernos.toml"


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPv6]:PORT`. Raises Invalid (EINVAL)."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare and bare == host) or not port.isascii() or not port.isdigit():
        raise Invalid(f"{text!r} is no address: write HOST:PORT, as in 127.0.0.1:7600 or [::1]:7600")
    if int(port) > 65535:
        raise Invalid(f"{text!r} is no address: ports run to 65535")
    return bare, int(port)
