"""The certificate authority of one kernel: makes its own certificate and those of its clients, and knows which are
revoked.

A CA per kernel, trusted by nobody but this kernel and its clients: that the certificate is from it is all there is to
check, so the server's is for the name `kernos` whatever its address.
"""

import contextlib
import datetime
import ipaddress
import re
from typing import final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from syscalls.errors import Busy, Invalid, IOFailed, NotFound
from syscalls.rights import Right, parse_rights
from userland.remote.folder import Folder

SERVER_NAME = "kernos"
_CA_DAYS = 3650
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_EARLIER = datetime.timedelta(hours=1)
"""Certificates are good from a little before they are made: clocks differ."""


@final
class Client(Struct, frozen=True, kw_only=True):
    """A client's certificate, as the registry keeps it. `expires` is seconds since 1970."""

    name: str
    serial: str
    rights: tuple[str, ...]
    expires: float
    revoked: bool = False

    @property
    def id(self) -> str:
        """By which it is revoked."""
        return f"cert:{self.serial}"


@final
class Issued(Struct, frozen=True):
    """A new certificate and its key, PEM."""

    client: Client
    cert: bytes
    key: bytes


@final
class Authority:
    """Works on the files of one kernel's folder; needs no kernel."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    @property
    def exists(self) -> bool:
        return self._folder.ca_cert.exists()

    def init(self, names: tuple[str, ...] = (), *, days: int = 825, again: bool = False) -> None:
        """Makes the CA and the kernel's certificate, for `kernos` and further `names` or addresses. Raises Busy (EBUSY)
        where there is one; with `again` all certificates of before are void."""
        void: dict[str, str] = {}
        with self._folder.locked():
            if self.exists and not again:
                raise Busy(
                    f"{self._folder.ca_cert} is there: --again makes a new CA, and voids every certificate of it"
                )
            key = ec.generate_private_key(ec.SECP256R1())
            name = _named("kernos CA")
            cert = (
                _builder(name, name, key.public_key(), _CA_DAYS)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_usage(ca=True), critical=True)
                .sign(key, hashes.SHA256())
            )
            void = {each.id: "the certificate is of a CA that is no more" for each in self._clients()}
            self._folder.write_json(self._folder.clients, [])
            self._folder.write(self._folder.ca_key, _pem_key(key))
            self._serve(cert, key, names, days)
            self._folder.write(self._folder.ca_cert, _pem(cert))
        if void:
            self._folder.revoke(void)

    def ensure(self) -> None:
        """Makes what is missing for a gateway to start; where another is about it, what that one makes is whole when
        this returns."""
        with contextlib.suppress(Busy):
            self.init()

    def issue(self, name: str, rights: tuple[str, ...], *, days: float = 365) -> Issued:
        """A certificate for the client `name`, who is the principal of that name, with `rights`. Raises Invalid,
        Busy (EBUSY) where the name has a certificate that is good."""
        if not _NAME.fullmatch(name) or name == "kernel":
            raise Invalid(f"{name!r} is no name for a client: letters, digits, '.', '_', '@', '-'; at most 64")
        if not 0 < days <= _CA_DAYS:
            raise Invalid(f"{days:g} days: more than 0, at most {_CA_DAYS}")
        written = tuple(str(right) for right in parse_rights(rights))
        if not written:
            raise Invalid("say what it may do: --allow 'model:* generate', or --allow '**' for all that you may")
        with self._folder.locked():
            now = datetime.datetime.now(datetime.UTC).timestamp()
            if any(each.name == name and not each.revoked and each.expires > now for each in self._clients()):
                raise Busy(f"{name} has a certificate: 'kernos cert revoke {name}' ends it")
            ca, ca_key = self._ca()
            key = ec.generate_private_key(ec.SECP256R1())
            cert = (
                _builder(_named(name), ca.subject, key.public_key(), days)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_usage(ca=False), critical=True)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
                .sign(ca_key, hashes.SHA256())
            )
            client = Client(
                name=name,
                serial=f"{cert.serial_number:x}",
                rights=written,
                expires=cert.not_valid_after_utc.timestamp(),
            )
            self._register([*self._clients(), client])
        return Issued(client, _pem(cert), _pem_key(key))

    def revoke(self, name: str) -> tuple[Client, ...]:
        """Ends the certificates of `name`; which. Raises NotFound (ENOENT)."""
        with self._folder.locked():
            clients = self._clients()
            hit = tuple(each for each in clients if each.name == name and not each.revoked)
            if not hit:
                known = ", ".join(sorted({each.name for each in clients if not each.revoked}))
                raise NotFound(f"no certificate of {name!r} that is not revoked; there are: {known or 'none'}")
            self._register([_revoked(each) if each in hit else each for each in clients])
        self._folder.revoke({each.id: f"the certificate of {name} was revoked" for each in hit})
        return hit

    def clients(self) -> tuple[Client, ...]:
        """Every certificate that was issued."""
        return tuple(self._clients())

    def client(self, serial: str) -> Client | None:
        """The one with this serial number."""
        return next((each for each in self._clients() if each.serial == serial), None)

    def _clients(self) -> list[Client]:
        found = self._folder.read_json(self._folder.clients) or []
        try:
            return msgspec.convert(found, list[Client])
        except msgspec.ValidationError as bad:
            raise IOFailed(f"{self._folder.clients} is not what it was ({bad}): bring it back from a backup") from None

    def _register(self, clients: list[Client]) -> None:
        self._folder.write_json(self._folder.clients, msgspec.to_builtins(clients))

    def _ca(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        try:
            cert = x509.load_pem_x509_certificate(self._folder.ca_cert.read_bytes())
            key = serialization.load_pem_private_key(self._folder.ca_key.read_bytes(), None)
        except FileNotFoundError:
            raise NotFound("this kernel has no CA yet: 'kernos cert init' makes one") from None
        except ValueError as bad:
            raise Invalid(f"{self._folder.ca_cert}: {bad}; 'kernos cert init --again' makes a new CA") from None
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cert, key

    def _serve(
        self, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, names: tuple[str, ...], days: int
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        cert = (
            _builder(_named(SERVER_NAME), ca.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([_alternative(n) for n in (SERVER_NAME, *names)]), critical=False
            )
            .sign(ca_key, hashes.SHA256())
        )
        self._folder.write(self._folder.server_key, _pem_key(key))
        self._folder.write(self._folder.server_cert, _pem(cert))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise Invalid(f"{name!r} is neither a host name nor an address") from None


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _revoked(client: Client) -> Client:
    return Client(name=client.name, serial=client.serial, rights=client.rights, expires=client.expires, revoked=True)


def rights_of(client: Client) -> tuple[Right, ...]:
    """What a certificate gives, as rights."""
    return parse_rights(client.rights)
