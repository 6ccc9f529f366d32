"""Attestations of package indexes (PEP 740): who published a wheel, by the word of Sigstore.

An attestation is a statement about a file, signed with a key that lives for minutes; its certificate says who held it.
Checked here, with nothing but a library for certificates: that the statement is about this very wheel, and that the
certificate's key signed it. That Sigstore's authority issued the certificate, and that the signature is in the
transparency log since then, is checked by `userland.pkg.proof`, where the libraries for it are installed: without
them an attestation is a claim, is told as one, and decides nothing.
"""

import base64
from pathlib import Path
from typing import Any, Final, final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Raw, Struct

from syscalls.errors import PermissionDenied

SUFFIXES: Final = (".publish.attestation", ".provenance")
ATTESTATION_BYTES_MAX: Final = 1 << 20
_PAYLOAD: Final = b"application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_FULCIO: Final = "1.3.6.1.4.1.57264.1."
_ISSUER, _REPOSITORY, _REPOSITORY_ID = f"{_FULCIO}8", f"{_FULCIO}12", f"{_FULCIO}15"


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
    attestations: list[Raw]
    publisher: Raw = Raw()


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


@final
class Attested(Struct, frozen=True, kw_only=True):
    """One attestation of a wheel, in the file `called`. `who` published it, by its certificate: the same for every
    version that the same workflow of the same repository publishes. `index` is whom the index says it trusts for the
    package (JSON), empty where the file does not tell."""

    called: str
    who: str
    document: bytes
    index: bytes = b""


def attested(wheel: Path, sha256: str) -> tuple[Attested, ...]:
    """The attestations beside the wheel. Raises PermissionDenied (EPERM) for one that cannot be read, is about another
    file, or is not signed by its certificate."""
    found: list[Attested] = []
    for suffix in SUFFIXES:
        beside = wheel.with_name(wheel.name + suffix)
        if beside.is_file():
            with open(beside, "rb") as file:
                data = file.read(ATTESTATION_BYTES_MAX + 1)
            for document, index in _documents(data, beside.name):
                who = _publisher(document, beside.name, wheel.name, sha256)
                found.append(Attested(called=beside.name, who=who, document=document, index=index))
    return tuple(found)


def _documents(data: bytes, called: str) -> list[tuple[bytes, bytes]]:
    """Each attestation of a file, and whom the index trusts."""
    if len(data) > ATTESTATION_BYTES_MAX:
        raise PermissionDenied(f"{called} is no attestation: it is larger than {ATTESTATION_BYTES_MAX >> 20} MiB")
    if called.endswith(SUFFIXES[0]):
        return [(data, b"")]
    try:
        bundles = msgspec.json.decode(data, type=_Provenance).attestation_bundles
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
        raise PermissionDenied(f"{called} cannot be read: {bad}") from None
    return [(bytes(each), bytes(bundle.publisher)) for bundle in bundles for each in bundle.attestations]


def _publisher(document: bytes, called: str, name: str, sha256: str) -> str:
    try:
        attestation = msgspec.json.decode(document, type=_Attestation)
        body = base64.b64decode(attestation.envelope.statement, validate=True)
        signature = base64.b64decode(attestation.envelope.signature, validate=True)
        der = base64.b64decode(attestation.verification_material.certificate, validate=True)
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        if not isinstance(key, EllipticCurvePublicKey):
            raise PermissionDenied(f"{called}: a certificate of another kind than attestations have")
        key.verify(signature, _signed(body), ECDSA(SHA256()))
        statement = msgspec.json.decode(body, type=_Statement)
        who = _who(certificate)
    except InvalidSignature:
        raise PermissionDenied(f"{called}: its signature is wrong") from None
    except PermissionDenied:
        raise
    except (ValueError, RecursionError, msgspec.MsgspecError) as bad:
        raise PermissionDenied(f"{called} cannot be read: {bad}") from None
    about = [(subject.name, subject.digest.get("sha256")) for subject in statement.subject]
    if statement.kind != _STATEMENT or about != [(name, sha256)]:
        raise PermissionDenied(f"{called} is about another file than {name} as it is here")
    return who


def _signed(body: bytes) -> bytes:
    """What is signed of an envelope (DSSE)."""
    return b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD), _PAYLOAD, len(body), body)


def _who(certificate: x509.Certificate) -> str:
    """Who held the key: the workflow or the mail address, without the tag or branch of this one version; the repository
    and its number, for another one may take its name, and a workflow may be shared by many; and who vouches for it."""
    claims = {
        extension.oid.dotted_string: _utf8(extension.value.value)
        for extension in certificate.extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
        and extension.oid.dotted_string in (_ISSUER, _REPOSITORY, _REPOSITORY_ID)
    }
    told = _identity(certificate)
    repository, number = claims.get(_REPOSITORY, ""), claims.get(_REPOSITORY_ID, "").strip('"')
    if repository and not (told.startswith(f"{repository}/") and not number):
        told += f" in {repository.removeprefix('https://')}{f' (number {number})' if number else ''}"
    return f"{told}, as {claims[_ISSUER]} says" if _ISSUER in claims else told


def _identity(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "somebody without a name"
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    mails = names.get_values_for_type(x509.RFC822Name)
    return str([*(uri.partition("@refs/")[0] for uri in uris), *mails, "somebody without a name"][0])


def _utf8(der: bytes) -> str:
    """A DER UTF8String. Raises ValueError."""
    if len(der) < 2 or der[0] != 0x0C:
        raise ValueError("a claim of its certificate is no text")
    start = 2 if der[1] < 0x80 else 2 + (der[1] & 0x7F)
    return der[start:].decode()
