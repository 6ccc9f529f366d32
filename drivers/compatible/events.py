"""Server-sent events from whatever pieces the network makes of them."""

from collections.abc import Iterator
from typing import final

from syscalls.errors import IOFailed

LINE_BYTES_MAX = 4 * 1024 * 1024


@final
class Events:
    """Bytes in, the `data` of each whole event out; comments and other fields are passed over."""

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[str]:
        """The events that are whole now. Raises IOFailed for a line that never ends."""
        self._buffer += piece
        *lines, rest = self._buffer.replace(b"\r\n", b"\n").split(b"\n")
        self._buffer = rest
        if len(self._buffer) > LINE_BYTES_MAX:
            raise IOFailed(f"the server sent a line of more than {LINE_BYTES_MAX} bytes: this is no event stream")
        for line in lines:
            yield from self._line(line.rstrip(b"\r").decode("utf-8", "replace"))

    def finish(self) -> Iterator[str]:
        """The last event, if the server ended without the blank line after it."""
        if self._buffer:
            yield from self._line(self._buffer.rstrip(b"\r").decode("utf-8", "replace"))
            self._buffer = b""
        yield from self._line("")

    def _line(self, line: str) -> Iterator[str]:
        if not line:
            if self._data:
                yield "\n".join(self._data)
            self._data = []
        elif line.startswith("data:"):
            self._data.append(line[5:].removeprefix(" "))
