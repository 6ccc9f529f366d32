"""What the arguments of one link's calls under way weigh: each is kept until its call has ended, and a call may wait
for ever. What they become as objects is bounded too: a field of any shape takes up to a hundred times what it says."""

from typing import Final, final

import msgspec

from syscalls.freeform import free_form_bytes
from syscalls.limits import FREE_FORM_BYTES_MAX, MIB
from syscalls.peer import Peer
from syscalls.row import Row
from syscalls.table import BY_NAME, TABLE
from syscalls.wire import Call

LIGHT_BYTES: Final = 1024
"""Up to here arguments are not counted: as many calls as a link may have open are nothing then."""
ARGS_BYTES_MAX: Final = 64 * MIB
FREE_FORM_TOTAL_MAX: Final = 8 * FREE_FORM_BYTES_MAX
"""Of all calls of one link, in fields of any shape."""
_ROWS: Final[dict[int | str, Row]] = dict(TABLE) | dict(BY_NAME)


@final
class Load:
    """The calls of one link whose arguments weigh something."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._calls: dict[int, tuple[int, int]] = {}
        self._bytes = 0
        self._free_form = 0

    def take(self, call: Call) -> str:
        """Counts one that has come; why there is no room for it, "" where there is."""
        size, free_form = memoryview(call.args).nbytes, _free_form_of(call)
        if not self._fits(size, free_form) or len(self._calls) > 2 * self._peer.limits.calls_max:
            self._forget()
            if not self._fits(size, free_form):
                return (
                    f"the arguments of calls under way on this link weigh {self._bytes} bytes, {self._free_form} of "
                    f"them in fields of any shape, and {size} more do not fit: wait for a call to end"
                )
        self._calls[call.id] = size, free_form
        self._bytes += size
        self._free_form += free_form
        return ""

    def _fits(self, size: int, free_form: int) -> bool:
        return self._bytes + size <= ARGS_BYTES_MAX and self._free_form + free_form <= FREE_FORM_TOTAL_MAX

    def _forget(self) -> None:
        """Drops what was answered."""
        self._calls = {number: each for number, each in self._calls.items() if self._peer.is_serving(number)}
        self._bytes = sum(size for size, _ in self._calls.values())
        self._free_form = sum(free_form for _, free_form in self._calls.values())


def _free_form_of(call: Call) -> int:
    """Of a package's call all; nothing of what is about to be refused: nonsense, and too much for one call."""
    row = _ROWS.get(call.number)
    try:
        size = memoryview(call.args).nbytes if row is None else free_form_bytes(row.args, bytes(call.args))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, OverflowError):
        return 0
    return size if size <= FREE_FORM_BYTES_MAX else 0
