"""Attestations, made here as an index makes them, with a certificate of our own."""

import base64
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from syscalls.errors import PermissionDenied
from userland.pkg.attestation import claimed

WHO = "https://github.com/ann/finder/.github/workflows/release.yml@refs/tags/1.0"
NAME = "finder-1.0-py3-none-any.whl"


def attestation(name: str = NAME, sha256: str = "ab" * 32, *, signs: bytes = b"") -> dict[str, Any]:
    key = generate_private_key(SECP256R1())
    now = datetime.datetime(2026, 1, 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(minutes=10))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WHO)]), critical=True)
        .sign(key, SHA256())
    )
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": name, "digest": {"sha256": sha256}}]}
    body = json.dumps({**statement, "predicateType": "https://docs.pypi.org/attestations/publish/v1"}).encode()
    kind = b"application/vnd.in-toto+json"
    signed = signs or b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)
    return {
        "version": 1,
        "verification_material": {
            "certificate": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
            "transparency_entries": [{}],
        },
        "envelope": {
            "statement": base64.b64encode(body).decode(),
            "signature": base64.b64encode(key.sign(signed, ECDSA(SHA256()))).decode(),
        },
    }


def test_an_attestation_says_who_published_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / NAME
    assert claimed(wheel, "ab" * 32) == ()
    (tmp_path / f"{NAME}.publish.attestation").write_text(json.dumps(attestation()))
    assert claimed(wheel, "ab" * 32) == (WHO,)
    provenance = {"version": 1, "attestation_bundles": [{"publisher": {}, "attestations": [attestation()]}]}
    (tmp_path / f"{NAME}.provenance").write_text(json.dumps(provenance))
    assert claimed(wheel, "ab" * 32) == (WHO,)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (attestation(name="other-1.0-py3-none-any.whl"), "about another file"),
        (attestation(sha256="cd" * 32), "about another file"),
        (attestation(signs=b"something else"), "its signature is wrong"),
        ({**attestation(), "envelope": {"statement": "?", "signature": "?"}}, "cannot be read"),
        ({**attestation(), "verification_material": {"certificate": "AAAA"}}, "cannot be read"),
        ({"version": 1}, "cannot be read"),
    ],
    ids=range(6),
)
def test_one_that_does_not_fit_is_refused(odd: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.publish.attestation").write_text(json.dumps(odd))
    with pytest.raises(PermissionDenied, match=why):
        claimed(tmp_path / NAME, "ab" * 32)
