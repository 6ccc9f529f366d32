"""A list of records in one file of the package store: replaced at once, gone when it is empty."""

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar, final

import msgspec
from msgspec import Struct

from syscalls.errors import IOFailed

Record = TypeVar("Record", bound=Struct)


@final
class Listed(Generic[Record]):
    """The records in `file`; `without` says what it would mean to have none, should it be unreadable."""

    def __init__(self, file: Path, record: type[Record], *, without: str) -> None:
        self._file = file
        self._record = record
        self._without = without

    def read(self) -> list[Record]:
        """All of them, none where there is no file. Raises IOFailed (EIO) for one that cannot be read."""
        try:
            found: list[Record] = msgspec.json.decode(self._file.read_bytes(), type=list[self._record])  # type: ignore[name-defined]
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as bad:
            raise IOFailed(
                f"{self._file} cannot be read: {bad}; mend it, or move it away: {self._without} then"
            ) from None
        return found

    def write(self, records: Sequence[Record]) -> None:
        """These in the place of those that there were."""
        if not records:
            self._file.unlink(missing_ok=True)
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(records)) + b"\n")
        fresh.rename(self._file)
