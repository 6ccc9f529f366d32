"""Who answers for a wheel: whoever signed it, whoever an index attests published it, and whether that is believed.

Both are believed the first time, and the same ones from then on: a package that comes from somebody else than before
stops, whatever it asks for.
"""

from pathlib import Path
from typing import Literal, final

from msgspec import Struct

from syscalls.errors import Invalid, PermissionDenied
from syscalls.package import Installed
from userland.pkg import proof
from userland.pkg.attestation import attested
from userland.pkg.keyring import Ring
from userland.pkg.publishers import Publishers
from userland.pkg.signing import SIGNATURE_BYTES_MAX, SUFFIX, key_id, verify
from userland.pkg.store import Store
from userland.pkg.wheel import Wheel

Trust = Literal["trusted", "seen", "new", "unsigned"]


@final
class Answerable(Struct, frozen=True, kw_only=True):
    """`public` is the key that signed the wheel (b"": none did), `trust` how far it is believed, and `signature` the
    file. `publisher` published it, by its attestations, which hold before Sigstore ("": none do); `claims` are what
    attestations say that could not be held to it, for want of the libraries."""

    public: bytes = b""
    trust: Trust = "unsigned"
    signature: bytes = b""
    publisher: str = ""
    claims: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The id of the key; "" for none."""
        return key_id(self.public) if self.public else ""


def who_answers(store: Store, path: Path, wheel: Wheel, before: Installed | None) -> Answerable:
    """What lies beside the wheel that people know as `path`: its signature and its attestations, checked. `before` is
    what is installed of the package. Raises PermissionDenied (EPERM) for one that is wrong, revoked, or not believed
    for this package; Invalid for what is no signature."""
    signature = _signature_beside(path)
    publisher, claims = _published_by(path, wheel)
    Publishers(store.folder).check(publisher, *claims)
    if signature is None:
        return Answerable(publisher=publisher, claims=claims)
    public = verify(wheel, signature)
    trust = Ring(store.folder).check(public, wheel.name, signed_before=before.key if before is not None else None)
    return Answerable(public=public, trust=trust, signature=signature, publisher=publisher, claims=claims)


def check_answers(
    found: Answerable, name: str, before: Installed | None, *, unsigned: bool, new_publisher: bool
) -> None:
    """Raises PermissionDenied (EPERM) where nobody answers for it and nobody said `unsigned`, and where it comes from
    somebody else than before and nobody said `new_publisher`."""
    if not found.public and before is not None and before.key:
        raise PermissionDenied(f"{name} is installed signed, this wheel is not: that is no upgrade of it")
    known = before.publisher if before is not None else ""
    if known and found.publisher != known and not new_publisher:
        raise PermissionDenied(
            f"{name} was published by {known}; this wheel {_otherwise(found)}: if you know why, say --new-publisher"
        )
    if not (found.public or found.publisher or unsigned):
        raise PermissionDenied(f"{name} is not signed, nobody answers for it: say --unsigned all the same")


def _otherwise(found: Answerable) -> str:
    if found.publisher:
        return f"was by {found.publisher}"
    if found.claims:
        return f"says that it was by {' and '.join(found.claims)}, which cannot be checked here ({proof.EXTRA})"
    return "has no attestation that says by whom"


def _published_by(path: Path, wheel: Wheel) -> tuple[str, tuple[str, ...]]:
    """The publisher, or claims of one. Raises PermissionDenied for attestations that do not hold, or contradict each
    other."""
    found = attested(path, wheel.sha256)
    told = tuple(dict.fromkeys(each.who for each in found))
    if not found or not proof.available():
        return "", told
    for each in found:
        proof.check(each, path.name, wheel.sha256)
    if len(told) > 1:
        raise PermissionDenied(f"the attestations of {path.name} contradict each other: {' and '.join(told)}")
    return told[0], ()


def _signature_beside(path: Path) -> bytes | None:
    beside = path.with_name(path.name + SUFFIX)
    try:
        with open(beside, "rb") as file:
            data = file.read(SIGNATURE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(data) > SIGNATURE_BYTES_MAX:
        raise Invalid(f"{beside.name} is no signature: it is larger than {SIGNATURE_BYTES_MAX} bytes")
    return data


def told(found: Answerable, name: str, before: Installed | None) -> list[str]:
    """Who answers for it, for people: a line on the signature, and one for each publisher."""
    signed = {
        "trusted": f"signed by {found.key}, which you trust",
        "seen": f"signed by {found.key}, as before",
        "new": f"signed by {found.key}, seen for the first time: believed for {name} once it is installed",
        "unsigned": "signed by nobody",
    }
    lines = [signed[found.trust]]
    if found.publisher:
        same = before is not None and before.publisher == found.publisher
        since = "as before" if same else f"for the first time: believed for {name} once it is installed"
        lines.append(f"published by {found.publisher} and in Sigstore's log, {since}")
    lines += [f"published by {each}, its attestation claims; to check that: {proof.EXTRA}" for each in found.claims]
    return lines
