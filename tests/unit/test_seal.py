"""Seals: addresses only the owner can make, bodies only the owner can read."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.seal import KEY_BYTES, Seal, Seals
from syscalls.errors import IOFailed

KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


@given(key=KEYS, body=st.binary(max_size=200), place=st.text(st.characters(codec="utf-8"), max_size=20))
def test_what_is_sealed_opens_at_its_place_only(key: bytes, body: bytes, place: str) -> None:
    seal = Seal(key, origin="a test")
    closed = seal.close(body, place)
    assert seal.open(closed, place) == body
    assert body not in closed or len(body) < 4
    with pytest.raises(IOFailed):
        seal.open(closed, place + "!")


@given(key=KEYS, other=KEYS, body=st.binary(max_size=50))
def test_another_key_gives_another_address_and_opens_nothing(key: bytes, other: bytes, body: bytes) -> None:
    mine, theirs = Seal(key, origin="mine"), Seal(other, origin="theirs")
    assert mine.address(body) == Seal(key, origin="again").address(body)
    if key != other:
        assert mine.address(body) != theirs.address(body)
        with pytest.raises(IOFailed, match="does not open with theirs"):
            theirs.open(mine.close(body, "x"), "x")


@given(body=st.binary(max_size=50), at=st.integers(0), bit=st.integers(0, 7))
def test_a_changed_bit_is_noticed(body: bytes, at: int, bit: int) -> None:
    seal = Seal(bytes(KEY_BYTES), origin="a test")
    closed = bytearray(seal.close(body, "x"))
    closed[at % len(closed)] ^= 1 << bit
    with pytest.raises(IOFailed):
        seal.open(bytes(closed), "x")


def test_a_body_that_is_too_short_is_damaged() -> None:
    with pytest.raises(IOFailed):
        Seal(bytes(KEY_BYTES), origin="a test").open(b"", "x")


def test_a_principal_has_one_key_for_ever_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = Seals(tmp_path / "keys").of("ann").address(b"page")
    (file,) = (tmp_path / "keys").iterdir()
    assert file.name == "ann.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_size == KEY_BYTES
    assert Seals(tmp_path / "keys").of("ann").address(b"page") == first
    assert Seals(tmp_path / "keys").of("bob").address(b"page") != first


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "Ann", "a/b", "x" * 500, "ü"])
def test_no_name_reaches_outside_the_folder(tmp_path: Path, name: str) -> None:
    Seals(tmp_path / "keys").of(name)
    assert [file.parent for file in tmp_path.rglob("*.key")] == [tmp_path / "keys"]


def test_a_damaged_key_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ann.key").write_bytes(b"short")
    with pytest.raises(IOFailed, match=r"ann\.key has 5 bytes, not 32"):
        Seals(tmp_path).of("ann")


def test_a_key_that_cannot_be_made_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(IOFailed, match="cannot be used"):
        Seals(tmp_path / "keys").of("ann")


def test_keys_in_memory_differ_between_machines() -> None:
    assert Seals(None).of("ann").address(b"x") != Seals(None).of("ann").address(b"x")
