"""Parsers of installed packages, as a program finds them: text of files that are none."""

from typing import final

from syscalls.calls import device as abi
from syscalls.errors import NotFound
from syscalls.parsing import kinds_of
from userland.sdk.door import Door


@final
class Parsers:
    """Those that there were: `await parsers(data, file="a.html")` gives the text. `by_kind` says which is for what:
    suffixes and media types."""

    def __init__(self, door: Door | None = None, table: tuple[abi.ParserInfo, ...] = ()) -> None:
        self._door = door
        self.by_kind = {kind: each for each in table for kind in (*each.suffixes, *each.types)}

    def match(self, file: str, type_: str = "") -> str | None:
        """The parser of a file, by its media type and its name; None where none is for it."""
        found = next((self.by_kind[kind] for kind in kinds_of(file, type_) if kind in self.by_kind), None)
        return found.name if found is not None else None

    async def __call__(self, data: bytes, *, file: str = "", type_: str = "") -> str:
        """The text of a document. Raises NotFound (ENOENT) where no parser is for it, and what device.parse raises."""
        name = self.match(file, type_)
        if name is None or self._door is None:
            known = ", ".join(sorted(self.by_kind)) or "nothing"
            raise NotFound(f"no installed package parses {file or type_ or 'it'}: there are parsers of {known}")
        args = abi.ParseDocument(parser=name, data=data, file=file)
        parsed: abi.ParsedDocument = await self._door.call(abi.PARSE, args)
        return parsed.text


async def listed(door: Door) -> Parsers:
    """Those that there are now. Raises PermissionDenied (EPERM) without `parser:* list`."""
    table: abi.ParserTable = await door.call(abi.PARSERS, abi.ListParsers())
    return Parsers(door, table.parsers)
