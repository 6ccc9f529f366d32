"""Wheels that are not what they should be: each is refused with the reason, and leaves nothing behind."""

import stat
import struct
import zipfile
from typing import Any

import pytest

from syscalls.limits import ABI_VERSION
from tests.commandline import KERNOS, CommandLine
from tests.packages import left, wheel
from tests.terminal import Terminal

GIB = 1 << 30


def link(name: str, to: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, to.encode()


def asks(*rights: str, **more: Any) -> dict[str, Any]:
    return {"manifest": {"rights": [{"right": right, "why": "to try"} for right in rights], **more}}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a path that leads out": ({"raw": (("../evil.py", b""),)}, "leads out of the wheel"),
    "a path that leads out further on": ({"raw": (("words_data/../../evil.py", b""),)}, "leads out of the wheel"),
    "an absolute path": ({"raw": (("/tmp/evil.py", b""),)}, "is an absolute path"),
    "a path of Windows": ({"raw": (("C:\\evil.py", b""),)}, "is no plain path"),
    "a link": ({"raw": (link("words_data/etc", "/etc"),)}, "is a link"),
    "a name with a terminal's commands": ({"raw": (("evil\x1b[2J.py", b""),)}, "is no plain path"),
    "two manifests": ({"raw": (("words-1.0.dist-info/kernos.json", b"{}"),)}, "is in it twice"),
    "two manifests in two places": ({"raw": (("words/kernos.json", b"{}"),)}, "there must be one"),
    "two manifests that differ in case": ({"raw": (("words-1.0.dist-info/Kernos.json", b"{}"),)}, "only in case"),
    "two sets of metadata": ({"raw": (("other-1.0.dist-info/METADATA", b""),)}, "2 folders *.dist-info"),
    "no manifest": ({"packaged": False}, "has no manifest"),
    "a manifest of another package": ({"manifest": {"name": "others"}}, "its manifest is of others"),
    "a right of no kind": (asks("bank:all"), "there is no right to 'bank'"),
    "a right to no action": (asks("model:* steal"), "there is no action 'steal' on model"),
    "a right to no part of the kernel": (asks("kernel:heart"), "the kernel has no part 'heart'"),
    "a right without a reason": ({"manifest": {"rights": [{"right": "model:*", "why": " "}]}}, "say why"),
    "a key that no manifest has": ({"manifest": {"root": True}}, "unknown field `root`"),
    "an ABI of the future": (
        {"manifest": {"abi": ABI_VERSION + 1, "telepathy": {}}},
        f"built for version {ABI_VERSION + 1} of the system calls",
    ),
    "what runs when Python starts": ({"raw": (("evil.pth", b"import os"),)}, "would run"),
    "a module of Python's name": ({"files": {"json/__init__.py": ""}}, "stand before a module of Python"),
    "a module of the kernel's name": ({"files": {"userland/worker.py": ""}}, "stand before a module of Python"),
    "scripts": ({"files": {"words-1.0.data/scripts/ls": ""}}, "scripts, headers and data"),
    "a file that RECORD lacks": ({"raw": ((".hidden", b""),), "recorded": False}, "is not in RECORD"),
    "another Python": ({"python": ">=4"}, "needs Python >=4"),
    "another machine": ({"tag": "cp311-cp311-win_amd64"}, "not for this machine"),
    "a tool of a name that is taken": ({"manifest": {"tools": {"calculator": "words:count"}}}, "kernos itself has one"),
    "extensions without the word of trust": ({"manifest": {"drivers": {"x": "words:x"}}}, "say --trust"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_wheel_is_refused_with_the_reason_and_leaves_nothing(case: str, kernos: CommandLine) -> None:
    how, reason = BAD[case]
    place = wheel(kernos.home, **how)
    done = kernos("pkg", "install", "--unsigned", "--yes", place)
    assert done.returncode in (2, 4, 5) and reason in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1, "one sentence"
    assert left(kernos) == []


def test_a_file_that_is_not_what_record_says_is_refused(kernos: CommandLine) -> None:
    place = wheel(kernos.home, files={"zz.py": "x = 1"})
    with zipfile.ZipFile(place) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["words.py"] += b"# more"
    with zipfile.ZipFile(place, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    done = kernos("pkg", "install", "--unsigned", "--yes", place)
    assert done.returncode == 2 and "'words.py' is not what RECORD says" in done.stderr
    assert left(kernos) == []


def test_a_gigabyte_of_zeros_is_not_unpacked(kernos: CommandLine) -> None:
    place = wheel(kernos.home)
    with zipfile.ZipFile(place, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("words_zeros", "w", force_zip64=True) as file:
            for _ in range(GIB >> 24):
                file.write(bytes(1 << 24))
    done = kernos("pkg", "install", "--unsigned", "--yes", place)
    assert done.returncode == 2 and "a bomb" in done.stderr, done.stderr
    assert left(kernos) == []


def test_zeros_that_say_that_they_are_few_are_not_unpacked_either(kernos: CommandLine) -> None:
    zeros = bytes(64 << 20)
    place = wheel(kernos.home, raw=(("words_zeros", zeros),))
    data = place.read_bytes()
    place.write_bytes(data.replace(struct.pack("<I", len(zeros)), struct.pack("<I", 100)))
    done = kernos("pkg", "install", "--unsigned", "--yes", place)
    assert done.returncode == 2 and "words" in done.stderr, done.stderr
    assert left(kernos) == []


def test_what_is_no_wheel_at_all_is_refused(kernos: CommandLine) -> None:
    for name, data in (("none.whl", b""), ("text.whl", b"hello"), ("cut.whl", wheel(kernos.home).read_bytes()[:-40])):
        (kernos.home / name).write_bytes(data)
        done = kernos("pkg", "install", "--unsigned", "--yes", name)
        assert done.returncode == 2 and "no wheel" in done.stderr, done.stderr
    missing = kernos("pkg", "install", "--unsigned", "--yes", "missing.whl")
    assert missing.returncode == 3 and "no such file" in missing.stderr
    assert kernos("pkg", "install", "--unsigned", "--yes", kernos.home).returncode == 3
    assert left(kernos) == []


def test_a_right_with_a_blank_is_filled_with_one_thing(kernos: CommandLine) -> None:
    place = wheel(kernos.home, **asks("file:{folder}/** read"))
    for value, reason in (("/srv/*", "no wildcards"), ("docs", "an absolute path"), ("/", "write the path out")):
        done = kernos("pkg", "install", "--unsigned", "--yes", "--set", f"folder={value}", place)
        assert done.returncode == 2 and reason in done.stderr, done.stderr


def test_what_it_can_do_without_needs_no_blank_filled(kernos: CommandLine) -> None:
    asked = [{"right": "file:{folder}/** read,write", "why": "to keep notes", "optional": True}]
    place = wheel(kernos.home, manifest={"rights": asked})
    done = kernos("pkg", "install", "--unsigned", "--yes", place)
    assert done.returncode == 0, done.stderr
    left_out = "left out: read, create, change and delete all that lies in <folder> (to keep notes); say --set folder=…"
    assert left_out in done.stderr
    assert "it may do nothing but compute" in kernos("pkg", "show", "words").stdout
    assert kernos.json("pkg", "list")[0].get("granted", []) == []


def test_a_place_that_cannot_be_written_is_one_line(kernos: CommandLine) -> None:
    (kernos.home / "file").write_text("")
    assert kernos("pkg", "new", "words").returncode == 0
    for words in (("build", "--out", "file/dist", "words"), ("new", "file/words")):
        done = kernos("pkg", *words)
        assert done.returncode == 1 and done.stderr.endswith(": Not a directory\n"), done.stderr
        assert done.stderr.count("\n") == 1


def test_a_name_one_letter_from_an_installed_one_is_warned_of(kernos: CommandLine) -> None:
    assert kernos("pkg", "install", "--unsigned", "--yes", wheel(kernos.home)).returncode == 0
    done = kernos("pkg", "install", "--unsigned", "--yes", wheel(kernos.home, name="wrods"))
    assert done.returncode == 0 and "warning: its name is nearly that of words" in done.stderr


def test_what_is_agreed_to_is_what_is_installed_though_the_file_changes(kernos: CommandLine) -> None:
    place = wheel(kernos.home, **asks("model:*"))
    was = kernos.json("pkg", "verify", place)["sha256"]
    words = [*KERNOS, "pkg", "install", "--unsigned", str(place)]
    with Terminal(words, environ=kernos.environ, folder=kernos.home) as terminal:
        terminal.expect("grant this and install it")
        wheel(kernos.home, **asks("**"))
        terminal.type("y\r")
        assert terminal.ended() == 0
    record = kernos.json("pkg", "show", "words")
    assert (record["sha256"], record["granted"]) == (was, ["model:*"])


def test_a_no_leaves_nothing(kernos: CommandLine) -> None:
    place = wheel(kernos.home, **asks("model:*"))
    words = [*KERNOS, "pkg", "install", "--unsigned", str(place)]
    with Terminal(words, environ=kernos.environ, folder=kernos.home) as terminal:
        terminal.expect("grant this and install it")
        meanwhile = kernos("pkg", "remove", "words")
        assert meanwhile.returncode == 5 and "waits for an answer" in meanwhile.stderr
        terminal.type("n\r")
        assert terminal.ended() == 4
    assert left(kernos) == []


def test_a_command_that_is_killed_leaves_what_the_next_one_sweeps(kernos: CommandLine) -> None:
    place = wheel(kernos.home, **asks("model:*"))
    words = [*KERNOS, "pkg", "install", "--unsigned", str(place)]
    with Terminal(words, environ=kernos.environ, folder=kernos.home) as terminal:
        terminal.expect("grant this and install it")
    assert kernos("pkg", "remove", "words").returncode == 3
    assert left(kernos) == []
