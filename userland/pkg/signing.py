"""Signatures: Ed25519 over the wheel's digest and its manifest's, in a file beside the wheel.

The signature names the package and its version, so that one of another package, or of an older version, cannot be put
in its place. Who may sign what is the key ring's business (userland.pkg.keyring).
"""

import base64
import hashlib
import os
from pathlib import Path
from typing import Final, final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from msgspec import Struct

from syscalls.errors import Invalid, NotFound, PermissionDenied
from userland.pkg.wheel import Wheel

SUFFIX: Final = ".sig"
SIGNATURE_BYTES_MAX: Final = 16 * 1024
_LABEL: Final = b"kernos package signature 1\n"


@final
class Signature(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file beside the wheel. Digests are sha256 in hex, key (the public one) and signature base64."""

    kernos: int
    package: str
    version: str
    wheel: str
    manifest: str
    key: str
    signature: str


def key_id(public: bytes) -> str:
    """What a public key is called: the first half of its sha256."""
    return hashlib.sha256(public).hexdigest()[:32]


def new_key(path: Path) -> str:
    """Makes a key in a file for its owner's eyes only; its id. Raises Invalid where there is one."""
    secret = Ed25519PrivateKey.generate()
    data = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Invalid(f"{path} is there already: sign with it, or give the new one another name") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return key_id(secret.public_key().public_bytes_raw())


def load_key(path: Path) -> Ed25519PrivateKey:
    """Reads a key. Raises NotFound that says how to make one, Invalid for another file."""
    try:
        secret = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such key; 'kernos pkg key new' makes one") from None
    except (ValueError, TypeError):  # a password is asked for, or what is there is no PEM
        raise Invalid(f"{path} is no key to sign with: it is damaged, or locked with a password") from None
    if not isinstance(secret, Ed25519PrivateKey):
        raise Invalid(f"{path} is a key of another kind: packages are signed with Ed25519")
    return secret


def sign(wheel: Wheel, secret: Ed25519PrivateKey) -> bytes:
    """The signature of a package, as the file beside it."""
    public = secret.public_key().public_bytes_raw()
    told = Signature(
        kernos=1,
        package=wheel.name,
        version=wheel.version,
        wheel=wheel.sha256,
        manifest=hashlib.sha256(wheel.manifest_bytes).hexdigest(),
        key=base64.b64encode(public).decode(),
        signature="",
    )
    signature = base64.b64encode(secret.sign(_signed(told))).decode()
    return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(told, signature=signature))) + b"\n"


def verify(wheel: Wheel, data: bytes) -> bytes:
    """The public key that signed exactly this wheel. Raises PermissionDenied (EPERM) where none did."""
    try:
        told = msgspec.json.decode(data, type=Signature)
        public, signature = base64.b64decode(told.key, validate=True), base64.b64decode(told.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(told))
    except InvalidSignature:
        raise PermissionDenied(f"the signature of {wheel.name} {wheel.version} is wrong") from None
    except (msgspec.MsgspecError, ValueError) as bad:
        raise PermissionDenied(f"the signature of {wheel.name} {wheel.version} cannot be read: {bad}") from None
    manifest = hashlib.sha256(wheel.manifest_bytes).hexdigest()
    if (told.kernos, told.package, told.version) != (1, wheel.name, wheel.version):
        raise PermissionDenied(
            f"the signature is of {told.package} {told.version}, not of {wheel.name} {wheel.version}"
        )
    if (told.wheel, told.manifest) != (wheel.sha256, manifest):
        raise PermissionDenied(f"{wheel.name} {wheel.version} is not the wheel that was signed: it was changed since")
    return public


def _signed(told: Signature) -> bytes:
    fields = (told.package, told.version, told.wheel, told.manifest)
    return _LABEL + "\n".join(fields).encode()
