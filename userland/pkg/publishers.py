"""Publishers that are believed no more: an account or a repository that fell into other hands."""

import time
from pathlib import Path
from typing import Final, final

from msgspec import Struct

from syscalls.errors import Invalid, NotFound, PermissionDenied
from userland.pkg.listed import Listed

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
        self._revoked = Listed(folder / FILE, Revoked, without="nobody is revoked")

    def revoked(self) -> list[Revoked]:
        """By text. Raises IOFailed (EIO) where the file cannot be read."""
        return self._revoked.read()

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
        others = [each for each in self.revoked() if each.text != found.text]
        self._revoked.write(sorted([*others, found], key=lambda each: each.text))
        return found

    def forget(self, text: str) -> Revoked:
        """Takes a revocation back. Raises NotFound (ENOENT)."""
        for each in self.revoked():
            if each.text == text.strip():
                self._revoked.write([other for other in self.revoked() if other != each])
                return each
        raise NotFound(f"no publisher is revoked as {text!r}: 'kernos pkg publisher list' shows them")
