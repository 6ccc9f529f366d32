"""Attestations made here as an index makes them, with a certificate of our own: Sigstore knows nothing of them."""

import base64
import datetime
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

WHO = "https://github.com/ann/finder/.github/workflows/release.yml@refs/tags/1.0"
NAME = "finder-1.0-py3-none-any.whl"


def attestation(name: str = NAME, sha256: str = "ab" * 32, *, signs: bytes = b"") -> dict[str, Any]:
    """An attestation of the wheel `name`; its signature is of `signs` where that is given."""
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
