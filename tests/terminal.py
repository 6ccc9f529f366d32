"""A terminal for tests: a command at the other end of a pty, what it shows, what is typed."""

import os
import pty
import re
import select
import signal
import struct
import termios
import time
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from typing import Self, final

_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>()][A-Z0-9]?)")
WITHIN_S = 20.0


@final
class Terminal:
    """Runs a command with this as its terminal. `expect` waits for a text to be shown and fails with what was."""

    def __init__(
        self, command: list[str], *, environ: dict[str, str], folder: Path, rows: int = 40, columns: int = 120
    ) -> None:
        self.shown = ""
        self._seen = 0
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, {**environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"})
        ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Types; `\\r` is Enter, `\\x03` is Ctrl-C."""
        os.write(self._fd, text.encode())

    def expect(self, pattern: str) -> str:
        """Waits until the regular expression is shown, after what was expected before; what it matched."""
        deadline = time.monotonic() + WITHIN_S
        while (found := re.search(pattern, self.shown[self._seen :])) is None:
            left = deadline - time.monotonic()
            assert left > 0 and self._read(left), f"no {pattern!r} in {self.shown[self._seen :]!r}"
        self._seen += found.end()
        return found[0]

    def ended(self, *, typing: str = "") -> int:
        """Waits for the command's end; its exit code. `typing` is typed once a second until then."""
        deadline = time.monotonic() + WITHIN_S
        while (gone := os.waitpid(self._pid, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < deadline, f"it does not end: {self.shown[self._seen :]!r}"
            with suppress(OSError):  # it may just have gone
                self.type(typing)
            until = time.monotonic() + 1.0
            while (left := until - time.monotonic()) > 0 and self._read(left):
                pass
        self._pid = 0
        return os.waitstatus_to_exitcode(gone[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._fd)

    def _read(self, wait_s: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], wait_s)
        if not ready:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other end is gone
            return False
        self.shown += _ESCAPE.sub("", data.decode(errors="replace"))
        return bool(data)
