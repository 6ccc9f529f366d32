"""Wheels as the installer reads them: whatever is not exactly a wheel is refused, and nothing is written outside."""

import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syscalls.errors import Invalid
from tests.packages import wheel
from userland.pkg.names import near
from userland.pkg.store import discard, seal
from userland.pkg.wheel import read_wheel, unpack


def read(folder: Path, **how: Any) -> Path:
    """Reads and unpacks a wheel; the folder in which its files are."""
    place = wheel(folder, **how)
    site = folder / "site"
    unpack(read_wheel(place, called=place.name), site)
    return site


def test_a_wheel_is_read_and_unpacked_without_rights_to_write(tmp_path: Path) -> None:
    site = read(tmp_path, files={"words_data/a.txt": "a"})
    assert (site / "words_data" / "a.txt").read_text() == "a"
    seal(site)
    assert {path.stat().st_mode & 0o222 for path in site.rglob("*")} == {0}
    discard(site)
    assert not site.exists()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "a//b", "a/./b", "..", "a\\b", "c:/x", "a/\x00b"])
def test_a_path_that_is_not_plain_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        read(tmp_path / "in", raw=((name, b""),))
    assert not (tmp_path / "out").exists() and not Path("/out").exists()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["..", ".", "a", "b", "", "~", "etc"]), min_size=1, max_size=5).map("/".join).filter(bool)
)
def test_nothing_is_written_outside_whatever_the_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "er"
    before = {path for path in tmp_path.rglob("*") if "deep" not in path.parts}
    try:
        site = read(folder, raw=((name, b"x"),))
        assert all(path.resolve().is_relative_to(site) for path in site.rglob("*"))
    except Invalid:
        pass
    finally:
        discard(folder)
    assert {path for path in tmp_path.rglob("*") if "deep" not in path.parts} == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_what_is_no_file_is_refused(kind: int, tmp_path: Path) -> None:
    odd = zipfile.ZipInfo("odd")
    odd.external_attr = (kind | 0o644) << 16
    with pytest.raises(Invalid, match="is a link or something else"):
        read(tmp_path, raw=((odd, b"/etc/passwd"),))


def test_a_file_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="a bomb"):
        read(tmp_path, files={"zeros": bytes(4 << 20)})


def test_a_file_below_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="lies below a file"):
        read(tmp_path, raw=(("words.py/more", b""),))


def test_a_file_that_is_not_what_record_says_is_refused(tmp_path: Path) -> None:
    place = wheel(tmp_path)
    with zipfile.ZipFile(place) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["words.py"] += b"# more"
    with zipfile.ZipFile(place, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(Invalid, match="is not what RECORD says"):
        unpack(read_wheel(place, called=place.name), tmp_path / "site")


@pytest.mark.parametrize(("one", "other"), [("words", "wrods"), ("words", "word"), ("words", "w0rds"), ("a-b", "ab")])
def test_names_that_are_nearly_the_same(one: str, other: str) -> None:
    assert near(one, other) and near(other, one)


@pytest.mark.parametrize(("one", "other"), [("words", "words"), ("words", "swords2"), ("finder", "reader")])
def test_names_that_are_not(one: str, other: str) -> None:
    assert not near(one, other) and not near(other, one)
