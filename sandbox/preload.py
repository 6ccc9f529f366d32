"""What a zygote has in its memory before the first fork, besides its imports, so that all workers share it."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_BYTES_HEAD: Final = sys.getsizeof(b"") + 1

# System libraries that extension modules of the standard library and common wheels link to. They lie
# outside every jail, but what is loaded here is found there by its name.
_LIBRARIES: Final = (
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libz.so.1",
    "libbz2.so.1.0",
    "liblzma.so.5",
    "libcrypto.so.3",
    "libssl.so.3",
    "libffi.so.8",
    "libmpdec.so.3",
    "libcrypt.so.1",
    "libuuid.so.1",
    "libsqlite3.so.0",
    "libexpat.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
)


def load_libraries() -> None:
    """Those that are on this machine."""
    for name in _LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:  # not on this machine, so nothing here links to it
            continue


def fill_holes() -> list[bytes]:
    """Objects of every small size, for the gaps that imports have left.

    What a worker makes would go there otherwise, a little into each of many pages that all workers share, and
    it would have to copy each of them.
    """
    return [bytes(size - _BYTES_HEAD) for size in range(48, 513, 16) for _ in range(300 if size <= 128 else 80)]
