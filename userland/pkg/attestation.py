"""Attestations of package indexes (PEP 740), as far as they can be checked without the network.

An attestation is a statement about a file, signed with a key that lives for minutes; its certificate says who held it.
Checked here: that the statement is about this very wheel, and that the certificate's key signed it. Not checked: that
Sigstore's authority issued the certificate, and that it is in the transparency log; both take roots of trust that are
fetched and renewed. So what is read here is a claim, told as one; it never stands for a signature.
"""

import base64
from pathlib import Path
from typing import Any, Final, final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from syscalls.errors import PermissionDenied

SUFFIXES: Final = (".publish.attestation", ".provenance")
ATTESTATION_BYTES_MAX: Final = 1 << 20
_PAYLOAD: Final = b"application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"


@final
class _Material(Struct, frozen=True):
    certificate: str
    transparency_entries: list[Any] = []


@final
class _Envelope(Struct, frozen=True):
    statement: str
    signature: str


@final
class _Attestation(Struct, frozen=True):
    version: int
    verification_material: _Material
    envelope: _Envelope


@final
class _Bundle(Struct, frozen=True):
    attestations: list[_Attestation]


@final
class _Provenance(Struct, frozen=True):
    version: int
    attestation_bundles: list[_Bundle]


@final
class _Subject(Struct, frozen=True):
    name: str
    digest: dict[str, str]


@final
class _Statement(Struct, frozen=True):
    kind: str = msgspec.field(name="_type")
    subject: list[_Subject] = []


def claimed(wheel: Path, sha256: str) -> tuple[str, ...]:
    """Who published the wheel by the attestations beside it; nobody where there are none. Raises PermissionDenied
    (EPERM) for one that cannot be read, is about another file, or is not signed by its certificate."""
    found: list[str] = []
    for suffix in SUFFIXES:
        beside = wheel.with_name(wheel.name + suffix)
        if beside.is_file():
            with open(beside, "rb") as file:
                data = file.read(ATTESTATION_BYTES_MAX + 1)
            found += [_publisher(each, beside.name, wheel.name, sha256) for each in _attestations(data, beside.name)]
    return tuple(dict.fromkeys(found))


def _attestations(data: bytes, called: str) -> list[_Attestation]:
    if len(data) > ATTESTATION_BYTES_MAX:
        raise PermissionDenied(f"{called} is no attestation: it is larger than {ATTESTATION_BYTES_MAX >> 20} MiB")
    try:
        if called.endswith(SUFFIXES[0]):
            return [msgspec.json.decode(data, type=_Attestation)]
        bundles = msgspec.json.decode(data, type=_Provenance).attestation_bundles
        return [each for bundle in bundles for each in bundle.attestations]
    except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
        raise PermissionDenied(f"{called} cannot be read: {bad}") from None


def _publisher(attestation: _Attestation, called: str, name: str, sha256: str) -> str:
    try:
        body = base64.b64decode(attestation.envelope.statement, validate=True)
        signature = base64.b64decode(attestation.envelope.signature, validate=True)
        der = base64.b64decode(attestation.verification_material.certificate, validate=True)
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        if not isinstance(key, EllipticCurvePublicKey):
            raise PermissionDenied(f"{called}: a certificate of another kind than attestations have")
        key.verify(signature, _signed(body), ECDSA(SHA256()))
        statement = msgspec.json.decode(body, type=_Statement)
    except InvalidSignature:
        raise PermissionDenied(f"{called}: its signature is wrong") from None
    except PermissionDenied:
        raise
    except (ValueError, msgspec.MsgspecError) as bad:
        raise PermissionDenied(f"{called} cannot be read: {bad}") from None
    about = [(subject.name, subject.digest.get("sha256")) for subject in statement.subject]
    if statement.kind != _STATEMENT or about != [(name, sha256)]:
        raise PermissionDenied(f"{called} is about another file than {name} as it is here")
    return _identity(certificate)


def _signed(body: bytes) -> bytes:
    """What is signed of an envelope (DSSE)."""
    return b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD), _PAYLOAD, len(body), body)


def _identity(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "somebody without a name"
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    mails = names.get_values_for_type(x509.RFC822Name)
    return str([*uris, *mails, "somebody without a name"][0])
