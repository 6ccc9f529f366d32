"""Attestations held to Sigstore: its authority issued the certificate, its log has the signature.

All of it offline: the roots of trust are those that the library ships or has been told (`sigstore plumbing
update-trust-root` renews them). The libraries are an extra (`kernos[attest]`), imported where they are needed.
"""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from syscalls.errors import IOFailed, PermissionDenied
from userland.pkg.attestation import Attested

EXTRA: Final = "pip install 'kernos[attest]'"


def available() -> bool:
    """Whether the libraries are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("sigstore", "pypi_attestations"))


def check(attested: Attested, name: str, sha256: str) -> None:
    """Raises PermissionDenied (EPERM) for an attestation of the wheel that is not Sigstore's or is not of whom the
    index trusts; IOFailed (EIO) where the libraries cannot be used."""
    try:
        import pydantic
        from pypi_attestations import Attestation, Distribution, Publisher
        from sigstore.errors import Error as SigstoreError
        from sigstore.verify.policy import UnsafeNoOp
    except ImportError as missing:
        raise IOFailed(f"attestations cannot be checked ({missing}): {EXTRA}") from None
    try:
        attestation = Attestation.model_validate_json(attested.document)
        # Whom the index trusts, where it says so; else whoever it is: that is compared with who it was before.
        policy = pydantic.TypeAdapter(Publisher).validate_json(attested.index) if attested.index else UnsafeNoOp()
        with _quiet():
            attestation.verify(policy, Distribution(name=name, digest=sha256), offline=True)
    except (ValueError, SigstoreError) as wrong:
        raise PermissionDenied(f"{attested.called} does not hold before Sigstore: {_line(wrong)}") from None
    except OSError as failed:
        raise IOFailed(f"attestations cannot be checked, sigstore keeps its roots of trust on disk: {failed}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's word on being offline, and on the policy that is none: both are meant."""
    logger = logging.getLogger("sigstore")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
