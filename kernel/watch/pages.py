"""Calls that never waited, taken down a page at a time.

A ring of sixty thousand calls is larger than a processor's caches: a struct for each would be written to cold memory
and freed from cold memory, while a caller waits. So a page of them is packed into one piece, and they become entries
only when somebody reads it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, final

import msgspec
from msgspec import Struct

from kernel.watch.callentry import CallEntry
from syscalls.table import TABLE

PAGE_CALLS: Final = 512
"""Calls that make a page, at most: what a page costs besides its calls is then lost among them."""
PAGED_BYTES_MAX: Final = 512
"""What a call takes of a page, about, at most."""


class Paged(NamedTuple):
    """A call in a page: the number of its row; the pid, the principal and the account of who made it; the right that
    let it in; when it began and ended (seconds); its arguments as they crossed the wire (msgpack); and so its result,
    or a text that stands for it."""

    row: int
    caller: tuple[int, str, str]
    right: str
    began_s: float
    at_s: float
    args: bytes
    result: Any


_PACK: Final = msgspec.msgpack.Encoder()
_READ: Final = msgspec.msgpack.Decoder(list[Paged])


@final
class Page(Struct, frozen=True, gc=False):
    """So many calls in order, the first of them with that number."""

    number: int
    count: int
    packed: bytes

    @classmethod
    def of(cls, number: int, calls: Sequence[tuple[object, ...]]) -> "Page":
        """A page of calls, each with the fields of `Paged`."""
        return cls(number, len(calls), _PACK.encode(calls))

    def bytes_kept(self) -> int:
        """What it takes."""
        return len(self.packed)

    def entries(self, skipped: int = 0) -> Iterator[CallEntry]:
        """Its calls, but for the first `skipped`."""
        for at, call in enumerate(_READ.decode(self.packed)[skipped:], skipped):
            times = call.began_s, call.at_s
            row = TABLE[call.row]
            yield CallEntry(self.number + at, row, *call.caller, *times, call.args, call.result, right=call.right)
