"""Credentials and certificates of one kernel: what they give, and every way in which they give nothing."""

import base64
import datetime
import stat
from pathlib import Path

import biscuit_auth
import msgspec
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from syscalls.errors import Busy, Invalid, IOFailed, NotFound, PermissionDenied
from syscalls.rights import Right, meet, parse_rights
from userland.gateway.who import Verifier
from userland.hosts import credential_bytes
from userland.remote.authority import Authority
from userland.remote.credential import Issuer, Verified, attenuate, show
from userland.remote.folder import Folder

NOW = 1_800_000_000.0
DAY = 86400.0


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def issuer(folder: Folder) -> Issuer:
    return Issuer(folder)


def made(issuer: Issuer, *rights: str, expires_s: float | None = NOW + DAY, audience: str | None = None) -> str:
    return issuer.new(principal="ann", rights=rights or ("**",), expires_s=expires_s, audience=audience)


def verified(issuer: Issuer, text: str, now_s: float = NOW) -> Verified:
    return issuer.verify(credential_bytes(text), now_s=now_s)


def written(rights: tuple[Right, ...]) -> list[str]:
    return [str(right) for right in rights]


def appended(text: str, code: str) -> str:
    """What any holder can do with a library of their own."""
    prefix, key, body = text.split(".")
    public = biscuit_auth.PublicKey.from_bytes(bytes.fromhex(key), biscuit_auth.Algorithm.Ed25519)  # type: ignore
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    token = biscuit_auth.Biscuit.from_bytes(raw, public).append(biscuit_auth.BlockBuilder(code))
    return f"{prefix}.{key}.{base64.urlsafe_b64encode(bytes(token.to_bytes())).decode().rstrip('=')}"


def test_a_credential_gives_what_it_says(issuer: Issuer, folder: Folder) -> None:
    good = verified(issuer, made(issuer, "model:* generate", "kernel:info"))
    assert (good.principal, written(good.rights)) == ("ann", ["kernel:info", "model:* generate"])
    assert good.expires_s == NOW + DAY and len(good.ids) == 1
    told = show(made(issuer, "model:*", audience="elsewhere"))
    assert (told.audience, told.blocks, told.rights) == ("elsewhere", 1, ("model:*",))
    assert stat.S_IMODE(folder.credential_key.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_its_holder_narrows_it_and_nobody_gets_it_back(issuer: Issuer) -> None:
    whole = made(issuer, "model:*", "kernel:info")
    less = attenuate(whole, rights=("model:sim generate,embed",), expires_s=NOW + 60)
    assert written(verified(issuer, less).rights) == ["model:sim embed,generate"]
    assert verified(issuer, less).expires_s == NOW + 60
    least = attenuate(less, rights=("model:* generate",))
    assert written(verified(issuer, least).rights) == ["model:sim generate"]
    with pytest.raises(PermissionDenied, match="expired on"):
        verified(issuer, least, NOW + 61)
    assert verified(issuer, whole, NOW + 61), "the one it was made from is as it was"


@pytest.mark.parametrize(
    "code", ['right("**")', 'only("**")', 'only("**"); only("model:*")', "expires(2099-01-01T00:00:00Z)"]
)
def test_no_block_widens(issuer: Issuer, code: str) -> None:
    less = attenuate(made(issuer, "model:*", "kernel:info"), rights=("model:sim generate",), expires_s=NOW + 60)
    try:
        rights = verified(issuer, appended(less, code)).rights
    except PermissionDenied as refused:
        assert "does not understand" in refused.message
        return
    assert written(rights) == ["model:sim generate"]
    with pytest.raises(PermissionDenied, match=r"expired|refused"):
        verified(issuer, appended(less, code), NOW + 61)


def test_what_might_have_been_meant_to_narrow_is_not_passed_over(issuer: Issuer) -> None:
    with pytest.raises(PermissionDenied, match="does not understand"):
        verified(issuer, appended(made(issuer), "only($r) <- right($r)"))
    with pytest.raises(PermissionDenied, match="refused"):
        verified(issuer, appended(made(issuer), 'check if weekday("sunday")'))


def test_a_credential_that_is_narrowed_to_nothing(issuer: Issuer) -> None:
    with pytest.raises(Invalid, match="nothing would be left"):
        attenuate(made(issuer, "model:*"), rights=("kernel:info",))
    assert verified(issuer, appended(made(issuer, "model:*"), 'only("kernel:info")')).rights == ()


@pytest.mark.parametrize("moment", [NOW + DAY, NOW + 100 * DAY])
def test_an_expired_credential_says_when(issuer: Issuer, moment: float) -> None:
    with pytest.raises(PermissionDenied, match="expired on 2027-01-16"):
        verified(issuer, made(issuer), moment)


def test_a_clock_that_is_set_back_makes_it_good_again_and_never_expires_means_never(issuer: Issuer) -> None:
    text = made(issuer)
    with pytest.raises(PermissionDenied):
        verified(issuer, text, NOW + 2 * DAY)
    assert verified(issuer, text, NOW)
    assert verified(issuer, made(issuer, expires_s=None), NOW + 10_000 * DAY).expires_s is None


def test_a_credential_for_another_kernel(issuer: Issuer, tmp_path: Path) -> None:
    with pytest.raises(PermissionDenied, match="is for the kernel 0123456789abcdef, this one is"):
        verified(issuer, made(issuer, audience="0123456789abcdef"))
    other = Issuer(Folder(tmp_path / "other"))
    with pytest.raises(PermissionDenied, match="none of this kernel's"):
        verified(issuer, made(other))


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_byte_is_no_credential(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    issuer = _shared(tmp_path_factory)
    raw = bytearray(credential_bytes(made(issuer, "model:*")))
    raw[at % len(raw)] ^= 1 << bit
    try:
        good = issuer.verify(bytes(raw), now_s=NOW)
    except PermissionDenied:
        return
    assert written(good.rights) == ["model:*"], "protobuf lets some bytes vary; what they say may not"


@given(cut=st.integers(0, 400))
def test_a_truncated_credential(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    issuer = _shared(tmp_path_factory)
    raw = credential_bytes(made(issuer))
    with pytest.raises(PermissionDenied):
        issuer.verify(raw[: min(cut, len(raw) - 1)], now_s=NOW)


def _shared(factory: pytest.TempPathFactory) -> Issuer:
    """One folder for all examples: making a key takes a while."""
    return Issuer(Folder(factory.getbasetemp() / "credentials"))


def test_too_long_or_too_often_narrowed(issuer: Issuer) -> None:
    text = made(issuer)
    for _ in range(16):
        text = appended(text, 'only("**")')
    with pytest.raises(PermissionDenied, match="narrowed 16 times; at most 15"):
        verified(issuer, text)
    with pytest.raises(PermissionDenied, match="bytes; at most"):
        issuer.verify(b"x" * 20_000, now_s=NOW)


def test_revoking_one_revokes_what_was_made_from_it(issuer: Issuer, folder: Folder) -> None:
    whole, other = made(issuer), made(issuer)
    less = attenuate(whole, expires_s=NOW + 60)
    folder.revoke({show(less).ids[-1]: "the credential was revoked"})
    assert verified(issuer, whole)
    with pytest.raises(PermissionDenied, match="was revoked"):
        verified(issuer, less)
    folder.revoke({show(whole).ids[-1]: "the credential was revoked"})
    for gone in (whole, less, attenuate(whole, rights=("model:*",))):
        with pytest.raises(PermissionDenied, match="was revoked"):
            verified(issuer, gone)
    assert verified(issuer, other)


@pytest.mark.parametrize("rights", [('model:a"b',), ("model:a\\b",), ("nonsense",)])
def test_rights_that_cannot_be_written_into_one(issuer: Issuer, rights: tuple[str, ...]) -> None:
    with pytest.raises(Invalid):
        made(issuer, *rights)


@pytest.mark.parametrize(
    "text", ["", "x", "kernos1..", "kernos1.zz.zz", "kernos1.00.!!!", "kernos2.00.AAAA", "a.b.c.d"]
)
def test_text_that_is_no_credential_is_not_repeated(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        show(text)
    assert not text or text not in refused.value.message


def test_revocations_that_cannot_be_read_let_nobody_in(issuer: Issuer, folder: Folder) -> None:
    text = made(issuer)
    folder.write(folder.revoked, b"{half")
    with pytest.raises(IOFailed, match="cannot be read"):
        verified(issuer, text)


_PARTS = st.sampled_from(
    ["*", "**", "model:*", "model:**", "model:a", "model:a*", "model:*b", "file:/a/**", "file:/a/*", "file:/a/b"]
)
_RIGHTS = st.builds(
    lambda resource, actions: Right("**" if resource == "*" else resource, tuple(sorted(actions)) or ("*",)),
    _PARTS,
    st.sets(st.sampled_from(["read", "write", "generate"])),
)


@given(some=st.lists(_RIGHTS, max_size=4), others=st.lists(_RIGHTS, max_size=4))
def test_what_two_have_in_common_is_no_more_than_either(some: list[Right], others: list[Right]) -> None:
    both = meet(some, others)
    for right in both:
        assert any(mine.covers(right) for mine in some) and any(theirs.covers(right) for theirs in others)
    for name in ("model:a", "model:ab", "file:/a/b", "file:/a/b/c"):
        for action in ("read", "write", "generate"):
            if any(right.allows(action, name) for right in both):
                assert any(right.allows(action, name) for right in some)
                assert any(right.allows(action, name) for right in others)


def test_what_is_in_common_is_not_lost_where_one_lies_within_the_other() -> None:
    assert meet(parse_rights(["model:* generate,embed"]), parse_rights(["model:sim"])) == parse_rights(
        ["model:sim embed,generate"]
    )
    assert meet(parse_rights(["**"]), parse_rights(["model:sim"])) == parse_rights(["model:sim"])
    assert meet(parse_rights(["model:sim read"]), parse_rights(["model:sim write"])) == ()


# Certificates.


def peer_cert(pem: bytes) -> dict[str, object]:
    """As the ssl module shows a certificate that it verified."""
    return {"serialNumber": f"{x509.load_pem_x509_certificate(pem).serial_number:X}"}


def test_a_certificate_gives_what_the_register_says(folder: Folder) -> None:
    authority = Authority(folder)
    authority.init(("127.0.0.1", "gpu.example.org"))
    issued = authority.issue("laptop", ("model:* generate",), days=2)
    admitted = Verifier(folder).admit(peer_cert(issued.cert), b"", "10.0.0.1:5")
    assert (admitted.principal, admitted.rights) == ("laptop", ("model:* generate",))
    assert admitted.expires_s == pytest.approx(datetime.datetime.now().timestamp() + 2 * DAY, abs=60)
    for secret in (folder.ca_key, folder.server_key, folder.clients):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    server = x509.load_pem_x509_certificate(folder.server_cert.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kernos", "gpu.example.org"]


def test_a_certificate_that_is_revoked_or_of_a_ca_that_is_no_more(folder: Folder) -> None:
    authority, verifier = Authority(folder), Verifier(folder)
    authority.init()
    first = authority.issue("laptop", ("**",))
    with pytest.raises(Busy, match="laptop has a certificate"):
        authority.issue("laptop", ("**",))
    authority.revoke("laptop")
    with pytest.raises(PermissionDenied, match="laptop was revoked"):
        verifier.admit(peer_cert(first.cert), b"", "")
    second = authority.issue("laptop", ("**",))
    assert verifier.admit(peer_cert(second.cert), b"", "").principal == "laptop"
    with pytest.raises(Busy, match="--again"):
        authority.init()
    authority.init(again=True)
    with pytest.raises(PermissionDenied, match="not in this kernel's register"):
        verifier.admit(peer_cert(second.cert), b"", "")
    assert second.client.id in folder.revocations(), "its connections are to be cut"


@pytest.mark.parametrize(
    ("name", "rights", "days", "why"),
    [
        ("../up", ("**",), 1, "no name"),
        ("kernel", ("**",), 1, "no name"),
        ("a", (), 1, "say what it may do"),
        ("a", ("**",), 0, "days"),
        ("a", ("**",), 1e6, "days"),
        ("a", ("nonsense",), 1, "is no right"),
    ],
)
def test_certificates_that_cannot_be(folder: Folder, name: str, rights: tuple[str, ...], days: float, why: str) -> None:
    authority = Authority(folder)
    authority.init()
    with pytest.raises(Invalid, match=why):
        authority.issue(name, rights, days=days)
    assert authority.clients() == ()


def test_without_a_ca_it_says_how_to_make_one(folder: Folder) -> None:
    with pytest.raises(NotFound, match="kernos cert init"):
        Authority(folder).issue("a", ("**",))
    with pytest.raises(NotFound, match="there are: none"):
        Authority(folder).revoke("a")


# Both.


def test_nobody_is_nobody(folder: Folder) -> None:
    with pytest.raises(PermissionDenied, match="wants to know who calls"):
        Verifier(folder).admit(None, b"", "")


def test_certificate_and_credential_together_give_what_both_do(folder: Folder, issuer: Issuer) -> None:
    authority, verifier = Authority(folder), Verifier(folder)
    authority.init()
    cert = peer_cert(authority.issue("ann", ("model:* generate", "kernel:info")).cert)
    both = verifier.admit(cert, credential_bytes(made(issuer, "model:sim", expires_s=4e9)), "")
    assert both.rights == ("model:sim generate",) and len(both.ids) == 2
    other = peer_cert(authority.issue("bob", ("**",)).cert)
    with pytest.raises(PermissionDenied, match="the certificate is bob's and the credential ann's"):
        verifier.admit(other, credential_bytes(made(issuer, expires_s=4e9)), "")


def test_the_register_is_plain(folder: Folder) -> None:
    authority = Authority(folder)
    authority.init()
    authority.issue("a", ("**",))
    assert [each["name"] for each in msgspec.json.decode(folder.clients.read_bytes())] == ["a"]
