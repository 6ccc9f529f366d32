"""A package's dependencies: locked by its author, fetched by pip as wheels alone, checked and unpacked by us."""

import importlib.util
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.packages import left, wheel
from userland.pkg import locking
from userland.pkg.environment import Source

PYPROJECT = """\
[build-system]
requires = ["kernos"]
build-backend = "kernos.build"

[project]
name = "leaning"
version = "1.0"
description = "Leans on another"
dependencies = ["crutch>=1", "trio"]

[tool.kernos.programs]
leans = "leaning:leans"
"""
LEANING = """
from kernos import Sys, program


@program
async def leans(sys: Sys) -> str:
    import crutch
    import stilt

    return crutch.SAYS + stilt.SAYS
"""


@pytest.fixture
def kernos(tmp_path: Path) -> CommandLine:
    kernos = CommandLine(tmp_path)
    (tmp_path / "leaning").mkdir()
    (tmp_path / "leaning" / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "leaning" / "leaning.py").write_text(LEANING)
    return kernos


def crutch(kernos: CommandLine, says: str = "crutch") -> None:
    wheel(
        kernos.home / "links", name="crutch", packaged=False, requires=("stilt",),
        files={"crutch.py": f"SAYS = {says!r}"},
    )  # fmt: skip


def stilt(kernos: CommandLine, **odd: object) -> Path:
    return wheel(kernos.home / "links", name="stilt", packaged=False, files={"stilt.py": "SAYS = ' and stilt'"}, **odd)  # type: ignore[arg-type]


def built(kernos: CommandLine) -> Path:
    return Path(kernos.json("pkg", "build", "--find-links", "links", "--no-index", "leaning")["wheel"])


def install(kernos: CommandLine, place: Path) -> str:
    done = kernos("pkg", "install", "--unsigned", "--find-links", "links", "--no-index", place)
    if done.returncode == 0:
        return ""
    assert left(kernos) == []
    return done.stderr


def test_dependencies_are_locked_fetched_and_imported_in_the_sandbox(kernos: CommandLine) -> None:
    crutch(kernos)
    stilt(kernos)
    place = built(kernos)
    with zipfile.ZipFile(place) as archive:
        manifest = json.loads(archive.read("leaning-1.0.dist-info/kernos.json"))
    assert [(each["name"], each["version"]) for each in manifest["lock"]] == [("crutch", "1.0"), ("stilt", "1.0")]
    assert install(kernos, place) == ""
    assert kernos("run", "leaning").stdout == "crutch and stilt\n"


def test_another_wheel_than_the_locked_one_is_refused(kernos: CommandLine) -> None:
    crutch(kernos)
    stilt(kernos)
    place = built(kernos)
    crutch(kernos, says="something else")
    assert "HASH" in install(kernos, place).upper()


def test_a_dependency_that_is_only_there_as_source_is_refused(kernos: CommandLine) -> None:
    crutch(kernos)
    wheel_ = stilt(kernos)
    place = built(kernos)
    wheel_.unlink()
    ran = kernos.home / "setup-ran"
    with tarfile.open(kernos.home / "links" / "stilt-1.0.tar.gz", "w:gz") as sdist:
        for name, text in (
            ("stilt-1.0/setup.py", f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n"),
            ("stilt-1.0/PKG-INFO", "Metadata-Version: 2.1\nName: stilt\nVersion: 1.0\n"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            sdist.addfile(info, io.BytesIO(text.encode()))
    assert "of the dependency stilt==1.0 there is no wheel" in install(kernos, place)
    relocked = kernos("pkg", "build", "--lock", "--find-links", "links", "--no-index", "leaning")
    assert relocked.returncode != 0 and "stilt" in relocked.stderr
    assert not ran.exists(), "nothing of it was run"


def test_what_no_lock_names_is_not_installed(kernos: CommandLine) -> None:
    crutch(kernos)
    place = wheel(kernos.home, requires=("crutch",))
    assert "its manifest locks no wheel of it" in install(kernos, place)
    direct = wheel(kernos.home, requires=(f"crutch @ file://{kernos.home}/links/crutch-1.0-py3-none-any.whl",))
    assert "not from an address" in install(kernos, direct)


def test_a_dependency_is_checked_as_the_package_is(kernos: CommandLine) -> None:
    crutch(kernos)
    stilt(kernos, raw=(("evil.pth", b"import os"),))
    assert "would run" in install(kernos, built(kernos))


def test_the_resolvers_agree(kernos: CommandLine) -> None:
    assert importlib.util.find_spec("pip") is not None
    crutch(kernos)
    stilt(kernos)
    source = Source(links=(str(kernos.home / "links"),), index=False)
    by_pip = locking._by_pip(("crutch",), source)
    uv = locking.find_uv()
    if uv is None:
        pytest.skip("there is no uv here")
    by_uv = locking._by_uv(uv, ("crutch",), source)
    assert sorted(by_uv, key=lambda each: each.name) == sorted(by_pip, key=lambda each: each.name)
