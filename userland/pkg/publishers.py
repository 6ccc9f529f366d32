"""Publishers that are believed no more: an account or a repository that fell into other hands."""

import time
from pathlib import Path
from typing import Final, final

import msgspec
from msgspec import Struct

from syscalls.errors import Invalid, IOFailed, NotFound, PermissionDenied

FILE: Final = "publishers.json"
TEXT_CHARS_MIN: Final = 8
"""Less than that would stand in the names of too many."""


@final
class Revoked(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whoever has `text` in the name that attestations give him is not believed."""

    text: str
    why: str = ""
    since: float = 0.0


@final
class Publishers:
    """The revoked ones, in one file. Whom a package was published by stands in its own record."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def revoked(self) -> list[Revoked]:
        """By text. Raises IOFailed (EIO) where the file cannot be read."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=list[Revoked])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as bad:
            raise IOFailed(
                f"{self._file} cannot be read: {bad}; mend it, or move it away: nobody is revoked then"
            ) from None

    def check(self, *names: str) -> None:
        """Raises PermissionDenied (EPERM) if one of them is revoked."""
        for each in self.revoked():
            for name in names:
                if each.text in name:
                    why = f" ({each.why})" if each.why else ""
                    raise PermissionDenied(f"the publisher {name} was revoked, as {each.text!r}{why}")

    def revoke(self, text: str, why: str) -> Revoked:
        """Never believes a publisher with this text in its name again. Raises Invalid (EINVAL) for too short a text."""
        if len(text.strip()) < TEXT_CHARS_MIN:
            raise Invalid(f"{text!r} would revoke too many: write {TEXT_CHARS_MIN} characters of the name at least")
        found = Revoked(text.strip(), why, time.time())
        self._write([*(each for each in self.revoked() if each.text != found.text), found])
        return found

    def forget(self, text: str) -> Revoked:
        """Takes a revocation back. Raises NotFound (ENOENT)."""
        for each in self.revoked():
            if each.text == text.strip():
                self._write([other for other in self.revoked() if other != each])
                return each
        raise NotFound(f"no publisher is revoked as {text!r}: 'kernos pkg publisher list' shows them")

    def _write(self, revoked: list[Revoked]) -> None:
        if not revoked:
            self._file.unlink(missing_ok=True)
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(sorted(revoked, key=lambda each: each.text))) + b"\n")
        fresh.rename(self._file)
