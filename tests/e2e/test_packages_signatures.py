"""Signatures of packages: one that is missing, wrong, revoked or somebody else's is refused, and leaves nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syscalls.package import Installed
from tests.commandline import CommandLine
from tests.packages import left, wheel
from userland.pkg.environment import Source
from userland.pkg.install import candidate, complete
from userland.pkg.keyring import Ring
from userland.pkg.store import Store


def signed(kernos: CommandLine, key: str = "default", **how: Any) -> Path:
    place = wheel(kernos.home, **how)
    if key != "default" and not (kernos.home / "config" / "kernos" / "keys" / f"{key}.pem").exists():
        kernos("pkg", "key", "new", key)
    done = kernos("pkg", "sign", "--key", key, place)
    assert done.returncode == 0, done.stderr
    return place


def test_an_unsigned_package_needs_a_word(kernos: CommandLine) -> None:
    done = kernos("pkg", "install", "--yes", wheel(kernos.home))
    assert done.returncode == 4 and "--unsigned" in done.stderr
    assert left(kernos) == []


def _changed(signature: dict[str, str]) -> None:
    signature["signature"] = "A" * 86 + "=="


def _of_another_version(signature: dict[str, str]) -> None:
    signature["version"] = "2.0"


def _unreadable(signature: dict[str, str]) -> None:
    signature["key"] = "?"


@pytest.mark.parametrize("change", [_changed, _of_another_version, _unreadable])
def test_a_wrong_signature_is_refused(change: Callable[[dict[str, str]], None], kernos: CommandLine) -> None:
    place = signed(kernos)
    beside = place.with_name(place.name + ".sig")
    signature = json.loads(beside.read_text())
    change(signature)
    beside.write_text(json.dumps(signature))
    for words in (("install", "--yes", place), ("install", "--yes", "--unsigned", place), ("verify", place)):
        done = kernos("pkg", *words)
        assert done.returncode == 4 and "signature" in done.stderr, done.stderr
    assert left(kernos) == []


def test_a_wheel_that_was_changed_since_it_was_signed_is_refused(kernos: CommandLine) -> None:
    place = signed(kernos)
    wheel(kernos.home, files={"words.py": "import os"})
    done = kernos("pkg", "install", "--yes", place)
    assert done.returncode == 4 and "not the wheel that was signed" in done.stderr
    other = signed(kernos, name="others")
    place.with_name(place.name + ".sig").write_bytes(other.with_name(other.name + ".sig").read_bytes())
    moved = kernos("pkg", "install", "--yes", place)
    assert moved.returncode == 4 and "is of others 1.0" in moved.stderr
    assert left(kernos) == []


def test_a_revoked_key_is_refused_whoever_trusted_it(kernos: CommandLine) -> None:
    place = signed(kernos)
    key = kernos.json("pkg", "verify", place)["key"]
    assert kernos("pkg", "key", "trust", key).returncode == 0
    assert kernos("pkg", "key", "revoke", key[:12], "--why", "it was stolen").returncode == 0
    done = kernos("pkg", "install", "--yes", place)
    assert done.returncode == 4 and "was revoked (it was stolen)" in done.stderr
    assert kernos("pkg", "key", "trust", key).returncode == 4
    assert left(kernos) == ["keys.json"]


def test_another_key_does_not_upgrade_a_package_until_it_is_trusted_for_it(kernos: CommandLine) -> None:
    assert kernos("pkg", "install", "--yes", signed(kernos)).returncode == 0
    other = signed(kernos, "other", version="2.0")
    done = kernos("pkg", "upgrade", "--yes", other)
    assert done.returncode == 4 and "--for words" in done.stderr
    unsigned = kernos("pkg", "upgrade", "--yes", "--unsigned", wheel(kernos.home, version="3.0"))
    assert unsigned.returncode == 4 and "is installed signed" in unsigned.stderr
    key = kernos.json("pkg", "key", "new", "third")["public"]
    assert kernos("pkg", "key", "trust", key, "--for", "another").returncode == 0
    third = kernos("pkg", "upgrade", "--yes", signed(kernos, "third", version="4.0"))
    assert third.returncode == 4, "trusted, but for another package"
    assert kernos.json("pkg", "list")[0]["manifest"]["version"] == "1.0"
    assert kernos("pkg", "key", "trust", key, "--for", "words").returncode == 0
    assert kernos("pkg", "upgrade", "--yes", kernos.home / "words-4.0-py3-none-any.whl").returncode == 0


def test_a_kill_before_the_package_is_kept_leaves_nothing_in_the_way(
    kernos: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is written down first: with the package first, a kill between the two would leave one that nobody could
    upgrade."""
    store = Store(kernos.home / "state" / "kernos" / "packages")
    known: list[list[str]] = []

    def keep(self: Store, record: Installed, made: Path) -> None:
        known.append([key.id for key in Ring(self.folder).all() if record.manifest.name in key.packages])
        raise OSError("full")

    place = signed(kernos)
    monkeypatch.setattr(Store, "keep", keep)
    with (
        store.locked(),
        candidate(store, place, values={}, unsigned=False, upgrade=False) as chosen,
        pytest.raises(OSError, match="full"),
    ):
        complete(store, chosen, granted=(), source=Source())
    assert known == [[chosen.answers.key]]
    assert Ring(store.folder).all() == [], "what failed and was not killed takes it back"
    assert kernos("pkg", "install", "--yes", place).returncode == 0
