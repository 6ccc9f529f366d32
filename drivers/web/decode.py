"""The body of an answer, unpacked as it is asked for: never more at once than there is room for."""

import zlib
from typing import Final, Protocol, final

from syscalls.errors import IOFailed

_AUTO: Final = 32 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


class Decoder(Protocol):
    """`feed` takes what came, `take` gives what can be made of it."""

    def feed(self, data: bytes) -> None: ...
    def take(self, count: int) -> bytes: ...
    def finish(self) -> None: ...


@final
class Plain:
    """As it came."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self._data += data

    def take(self, count: int) -> bytes:
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    def finish(self) -> None:
        """Any end is an end."""


@final
class Inflated:
    """gzip and deflate. A small body may hold a huge one: it is unpacked piece by piece, and only as far as asked."""

    def __init__(self) -> None:
        self._packed = b""
        self._unpack = zlib.decompressobj(_AUTO)
        self._begun = False

    def feed(self, data: bytes) -> None:
        self._packed += data

    def take(self, count: int) -> bytes:
        while True:
            if self._unpack.eof:
                if not self._packed:
                    return b""
                self._unpack = zlib.decompressobj(_AUTO)  # one stream behind another
            data = self._some(count)
            if data or not self._unpack.eof:
                return data

    def finish(self) -> None:
        """Raises IOFailed (EIO) where the end is missing."""
        if self._begun and not self._unpack.eof:
            raise IOFailed("the answer ended in the middle of what was packed: ask again")

    def _some(self, count: int) -> bytes:
        if not self._packed and not self._begun:
            return b""
        try:
            data = self._unpack.decompress(self._packed, count)
        except zlib.error as wrong:
            if self._begun:
                raise IOFailed(f"the answer is not packed as it says: {wrong}") from None
            self._unpack = zlib.decompressobj(_RAW)  # what some servers call deflate
            self._begun = True
            return self._some(count)
        self._begun = True
        self._packed = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail
        return data


def decoder_for(encoding: str) -> Decoder | None:
    """None: it is packed in a way that was not asked for, and is handed on as it is."""
    match encoding.strip().lower():
        case "gzip" | "x-gzip" | "deflate":
            return Inflated()
        case "" | "identity":
            return Plain()
        case _:
            return None
