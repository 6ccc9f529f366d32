"""The key ring: whose signatures are believed, for which packages, and whose no more."""

import base64
import time
from pathlib import Path
from typing import Final, Literal, final

import msgspec
from msgspec import Struct

from syscalls.errors import Invalid, NotFound, PermissionDenied
from userland.pkg.listed import Listed
from userland.pkg.signing import key_id

FILE: Final = "keys.json"
State = Literal["trusted", "seen", "revoked"]


@final
class Key(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A public key (base64). `trusted`: by the operator's word, for any package, or for `packages` alone where it names
    some. `seen`: it signed `packages` when they were first installed, and is believed for these. `revoked`: never
    again, whoever trusted it."""

    id: str
    public: str
    state: State
    label: str = ""
    packages: tuple[str, ...] = ()
    since: float = 0.0
    why: str = ""

    def speaks_for(self, package: str) -> bool:
        """Whether its signature of `package` is believed."""
        if self.state == "trusted":
            return not self.packages or package in self.packages
        return self.state == "seen" and package in self.packages


@final
class Ring:
    """The keys in one file."""

    def __init__(self, folder: Path) -> None:
        self._keys = Listed(folder / FILE, Key, without="no key is known")

    def all(self) -> list[Key]:
        """By id. Raises IOFailed (EIO) for a ring that cannot be read."""
        return self._keys.read()

    def find(self, id_: str) -> Key | None:
        """A key by the beginning of its id, at least 8 characters. Raises Invalid where two begin so."""
        found = [key for key in self.all() if key.id == id_ or (len(id_) >= 8 and key.id.startswith(id_))]
        if len(found) > 1:
            raise Invalid(f"{len(found)} keys begin with {id_}: write more of it")
        return found[0] if found else None

    def check(self, public: bytes, package: str, *, signed_before: str | None) -> Literal["trusted", "seen", "new"]:
        """Whether a signature of `package` by this key is believed: `trusted`, `seen` before, or `new`, which is
        believed once, for a package that is not installed. `signed_before` is the key of the installed one ("": it is
        not signed), None where it is not.

        Raises PermissionDenied (EPERM) for a revoked key, and for one that is not the package's."""
        id_ = key_id(public)
        known = next((key for key in self.all() if key.id == id_), None)
        if known is not None and known.state == "revoked":
            raise PermissionDenied(f"key {id_} was revoked{f' ({known.why})' if known.why else ''}")
        if known is not None and known.speaks_for(package):
            return "trusted" if known.state == "trusted" else "seen"
        if signed_before is None:
            return "new"
        before = f"by key {signed_before}" if signed_before else "by nobody"
        raise PermissionDenied(
            f"{package} is installed signed {before}, this is signed by key {id_}: if you know why, "
            f"'kernos pkg key trust {id_} --for {package}'"
        )

    def saw(self, public: bytes, package: str) -> None:
        """The key has signed a package that is installed now: it is believed for it from now on."""
        id_ = key_id(public)
        known = next((key for key in self.all() if key.id == id_), None)
        if known is None:
            known = Key(id=id_, public=base64.b64encode(public).decode(), state="seen", since=time.time())
        if not known.speaks_for(package):
            self._put(msgspec.structs.replace(known, packages=(*known.packages, package)))

    def forget(self, package: str) -> None:
        """The package is gone: keys that were only seen with it go, too."""
        kept = []
        for key in self.all():
            if key.state == "seen":
                key = msgspec.structs.replace(key, packages=tuple(p for p in key.packages if p != package))
                if not key.packages:
                    continue
            kept.append(key)
        self._keys.write(kept)

    def trust(self, id_: str, public: str, *, label: str, packages: tuple[str, ...]) -> Key:
        """The operator's word for a key. Raises PermissionDenied for a revoked one."""
        known = self.find(id_)
        if known is not None and known.state == "revoked":
            raise PermissionDenied(f"key {known.id} was revoked; 'kernos pkg key forget {known.id}' first")
        key = Key(
            id=known.id if known else id_,
            public=public or (known.public if known else ""),
            state="trusted",
            label=label or (known.label if known else ""),
            packages=packages,
            since=time.time(),
        )
        return self._put(key)

    def revoke(self, id_: str, why: str) -> Key:
        """Never believes a key again; one that was never seen, too."""
        known = self.find(id_)
        if known is None and len(id_) != 32:
            raise NotFound(f"no key {id_}: 'kernos pkg key list' shows them; of others write the whole id")
        known = known or Key(id=id_, public="", state="revoked")
        return self._put(msgspec.structs.replace(known, state="revoked", why=why, since=time.time()))

    def drop(self, id_: str) -> Key:
        """Takes a key out of the ring. Raises NotFound."""
        known = self.find(id_)
        if known is None:
            raise NotFound(f"no key {id_}: 'kernos pkg key list' shows them")
        self._keys.write([key for key in self.all() if key.id != known.id])
        return known

    def _put(self, key: Key) -> Key:
        self._keys.write(sorted([*(each for each in self.all() if each.id != key.id), key], key=lambda each: each.id))
        return key
