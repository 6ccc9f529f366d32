"""Principals' keys, and what they do: page addresses that only the owner can make, bodies that only the owner can read.

An address is HMAC-SHA256(key, canonical bytes), so the same page of one principal is stored once and nothing can be
learned from equal pages of two. A body is sealed with AES-GCM under its place as associated data: a body that was put
in another's place does not open.
"""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syscalls.errors import IOFailed

KEY_BYTES = 32
NONCE_BYTES = 12
ADDRESS_CHARS = 32


@final
class Seal:
    """What one principal's key can do."""

    def __init__(self, key: bytes, *, origin: str) -> None:
        assert len(key) == KEY_BYTES
        self._address_key = _derive(key, b"address")
        self._cipher = AESGCM(_derive(key, b"body"))
        self._origin = origin

    def address(self, body: bytes) -> str:
        """Where `body` is found: 32 hexadecimal characters."""
        return hmac.digest(self._address_key, body, "sha256").hex()[:ADDRESS_CHARS]

    def close(self, body: bytes, place: str) -> bytes:
        """`body` sealed for `place` (an address, a row); it opens nowhere else."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, body, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """The body. Raises IOFailed (EIO) if the key is another one, or the bytes are damaged."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            raise IOFailed(
                f"what is stored as {place} does not open with {self._origin}: put the key back that wrote it"
            ) from None


@final
class Seals:
    """Every principal's key: a file of its own (0600) in `folder`, made at its first use; None keeps keys in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._seals: dict[str, Seal] = {}

    def of(self, principal: str) -> Seal:
        """The seal of `principal`. Raises IOFailed (EIO) when its key cannot be read or made."""
        found = self._seals.get(principal)
        if found is None:
            found = self._seals[principal] = self._load(principal)
        return found

    def _load(self, principal: str) -> Seal:
        if self._folder is None:
            return Seal(secrets.token_bytes(KEY_BYTES), origin=f"the key of {principal} in memory")
        path = self._folder / f"{_file_name(principal)}.key"
        try:
            key = path.read_bytes() if path.exists() else _make(path)
        except OSError as bad:
            raise IOFailed(f"the key {path} cannot be used: {bad.strerror}; without it no page opens") from bad
        if len(key) != KEY_BYTES:
            raise IOFailed(f"the key {path} has {len(key)} bytes, not {KEY_BYTES}: put the right one back")
        return Seal(key, origin=str(path))


def _make(path: Path) -> bytes:
    """A new key, on disk before it is used; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_bytes(KEY_BYTES)
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, key)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(draft, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key


def _file_name(principal: str) -> str:
    """The principal's name where it is a plain word; else its digest: no name reaches outside the folder."""
    if re.fullmatch(r"[a-z0-9_-]{1,40}", principal):
        return principal
    return "p." + hashlib.sha256(principal.encode()).hexdigest()[:40]


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"kernos " + purpose, "sha256")
