"""Attestations: made here as an index makes them, with a certificate of our own; and real ones, held to Sigstore."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from syscalls.errors import Invalid, NotFound, PermissionDenied
from syscalls.package import Installed, Manifest
from tests.attestations import NAME, WHO, attestation
from userland.pkg import proof
from userland.pkg.attestation import attested
from userland.pkg.belief import Answerable, check_answers, told, who_answers
from userland.pkg.publishers import Publishers
from userland.pkg.store import Store
from userland.pkg.wheel import Wheel

HELD = WHO.partition("@refs/")[0]
REAL = Path(__file__).parent.parent / "attested"
CIRCLE = "circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl"
CIRCLE_SHA256 = "8cb34da1e27336f11a2c43f3f9c7433bd76f24f470c904724f06ad7f131d9e9f"
GITHUB = "pypi_attestations-0.0.19.tar.gz"
GITHUB_SHA256 = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3"


def test_an_attestation_says_who_published_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / NAME
    assert attested(wheel, "ab" * 32) == ()
    (tmp_path / f"{NAME}.publish.attestation").write_text(json.dumps(attestation()))
    assert [each.who for each in attested(wheel, "ab" * 32)] == [HELD]
    provenance = {"version": 1, "attestation_bundles": [{"publisher": {}, "attestations": [attestation()]}]}
    (tmp_path / f"{NAME}.provenance").write_text(json.dumps(provenance))
    assert [(each.who, each.index) for each in attested(wheel, "ab" * 32)] == [(HELD, b""), (HELD, b"{}")]


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
        attested(tmp_path / NAME, "ab" * 32)


needs_sigstore = pytest.mark.skipif(not proof.available(), reason=f"needs {proof.EXTRA}")


@needs_sigstore
def test_real_ones_hold_before_sigstore_without_the_network() -> None:
    alone, of_index = attested(REAL / CIRCLE, CIRCLE_SHA256)
    assert alone.who == of_index.who and b"CircleCI" in of_index.index
    for each in (alone, of_index):
        proof.check(each, CIRCLE, CIRCLE_SHA256)
    (workflow,) = attested(REAL / GITHUB, GITHUB_SHA256)
    proof.check(workflow, GITHUB, GITHUB_SHA256)
    assert workflow.who == (
        "https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml in "
        "github.com/trailofbits/pypi-attestations (number 772247423), as "
        "https://token.actions.githubusercontent.com says"
    )


@needs_sigstore
def test_what_is_changed_in_a_real_one_is_found() -> None:
    alone, of_index = attested(REAL / CIRCLE, CIRCLE_SHA256)
    material = json.loads(alone.document)
    material["verification_material"]["transparency_entries"][0]["integratedTime"] = "1770000000"
    other_log = replace(alone, document=json.dumps(material).encode())
    other_project = replace(of_index, index=of_index.index.replace(b"fdd9283f", b"00000000"))
    for odd in (other_log, other_project, replace(alone, document=b"{}")):
        with pytest.raises(PermissionDenied, match="does not hold before Sigstore") as refused:
            proof.check(odd, CIRCLE, CIRCLE_SHA256)
        assert refused.value.message.isprintable()
    with pytest.raises(PermissionDenied, match="does not hold before Sigstore"):
        proof.check(alone, CIRCLE, "00" * 32)


def read(path: Path, sha256: str) -> Wheel:
    """A wheel as the reader gives it, as far as anybody looks here."""
    return Wheel(
        path=path, name="finder", version="1.0", sha256=sha256, manifest=None, manifest_bytes=b"", requires=(),
        python="", tags=(), recorded={}, unpacked_bytes=0,
    )  # fmt: skip


@needs_sigstore
def test_only_what_holds_before_sigstore_makes_a_publisher(tmp_path: Path) -> None:
    real = who_answers(Store(tmp_path), REAL / CIRCLE, read(REAL / CIRCLE, CIRCLE_SHA256), None)
    assert "CircleCI-Public/sign-and-publish-examples" in real.publisher and not real.claims
    (tmp_path / f"{NAME}.publish.attestation").write_text(json.dumps(attestation()))
    with pytest.raises(PermissionDenied, match="does not hold before Sigstore"):
        who_answers(Store(tmp_path), tmp_path / NAME, read(tmp_path / NAME, "ab" * 32), None)


def installed(publisher: str = "", key: str = "") -> Installed:
    """What is installed of the package."""
    manifest = Manifest(name="finder", version="0.9")
    return Installed(manifest=manifest, release="0.9-abc", sha256="0" * 64, publisher=publisher, key=key)


ANN, BOB = Answerable(publisher="ann"), Answerable(publisher="bob")
CLAIMED = Answerable(claims=("ann",))


@pytest.mark.parametrize(
    ("found", "before", "why"),
    [
        (ANN, None, ""),
        (ANN, installed("ann"), ""),
        (ANN, installed(), ""),
        (BOB, installed("ann"), "was published by ann; this wheel was by bob: if you know why, say --new-publisher"),
        (Answerable(), installed("ann"), "this wheel has no attestation that says by whom"),
        (CLAIMED, installed("ann"), "says that it was by ann, which cannot be checked here (pip install"),
        (CLAIMED, None, "is not signed, nobody answers for it: say --unsigned"),
        (Answerable(), None, "is not signed, nobody answers for it: say --unsigned"),
        (ANN, installed("ann", key="k" * 32), "is installed signed, this wheel is not"),
        (replace(BOB, public=b"k", trust="seen"), installed("ann"), "this wheel was by bob"),
        (replace(ANN, public=b"k", trust="seen"), installed("ann"), ""),
    ],
    ids=range(11),
)
def test_a_publisher_is_believed_the_first_time_and_the_same_from_then_on(
    found: Answerable, before: Installed | None, why: str
) -> None:
    if not why:
        check_answers(found, "finder", before, unsigned=False, new_publisher=False)
        return
    with pytest.raises(PermissionDenied) as refused:
        check_answers(found, "finder", before, unsigned=False, new_publisher=False)
    assert why in refused.value.message
    if "--new-publisher" in why:
        check_answers(found, "finder", before, unsigned=False, new_publisher=True)


def test_who_answers_is_told_in_lines() -> None:
    assert told(ANN, "finder", None)[1:] == [
        "published by ann and in Sigstore's log, for the first time: believed for finder once it is installed"
    ]
    assert told(ANN, "finder", installed("ann"))[1:] == ["published by ann and in Sigstore's log, as before"]
    assert told(CLAIMED, "finder", None) == [
        "signed by nobody",
        "published by ann, its attestation claims; to check that: pip install 'kernos[attest]'",
    ]


def test_a_revoked_publisher_is_not_believed_even_as_a_claim(tmp_path: Path) -> None:
    revoked = Publishers(tmp_path)
    (tmp_path / f"{NAME}.publish.attestation").write_text(json.dumps(attestation()))
    revoked.revoke("github.com/ann/finder", "taken over")
    with pytest.raises(PermissionDenied) as refused:
        who_answers(Store(tmp_path), tmp_path / NAME, read(tmp_path / NAME, "ab" * 32), None)
    if not proof.available():
        assert "was revoked, as 'github.com/ann/finder' (taken over)" in refused.value.message
    with pytest.raises(PermissionDenied, match=r"was revoked, as 'github.com/ann/finder' \(taken over\)"):
        revoked.check("", f"{HELD} in github.com/ann/finder")
    revoked.check("https://github.com/ann/other")
    revoked.forget("github.com/ann/finder")
    revoked.check(HELD)
    assert revoked.revoked() == [] and not (tmp_path / "publishers.json").exists()


def test_a_revocation_is_of_a_name_that_says_enough(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="would revoke too many: write 8 characters"):
        Publishers(tmp_path).revoke("github", "")
    with pytest.raises(NotFound, match="no publisher is revoked as 'nobody at all'"):
        Publishers(tmp_path).forget("nobody at all")
