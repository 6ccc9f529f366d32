"""Plain files and sockets: how calls are read, paths written out, rights found, names answered. No process but this."""

import ctypes
import errno
import os
import posixpath
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.mediation import calls, stats
from drivers.mediation.decision import Decisions
from drivers.mediation.files import HostFiles, wanted
from drivers.mediation.memory import Memory
from drivers.mediation.names import Asker, is_names_socket
from drivers.mediation.notices import Notice
from drivers.mediation.places import absolute, inside, must_be_folder, speakable
from drivers.mediation.sockets import Known, read_address
from drivers.mediation.view import Folders
from syscalls.errors import Invalid
from syscalls.filing import Tree
from syscalls.mediation import Connect, File, Rename, may_resolve, needed, tcp_name, to_resolve
from syscalls.mounts import Spot
from syscalls.rights import Right

NAMES = st.lists(st.sampled_from(["a", "b", ".", "..", "", "...", "~", "é", "a b", "\udce9"]), max_size=8)


# Paths.


@given(NAMES, NAMES, st.booleans())
def test_a_path_is_written_out(base: list[str], names: list[str], whole: bool) -> None:
    here = absolute("/", "/" + "/".join(base))
    path = ("/" if whole else "") + "/".join(names)
    if not path:
        return
    written = absolute(here, path)
    assert written.startswith("/") and "//" not in written
    assert not {".", "..", ""} & set(written.split("/")[1:]) or written == "/"
    assert written == posixpath.normpath(posixpath.join(here, path)).replace("//", "/")
    assert absolute(here, written) == written == absolute("/elsewhere", written)


@given(NAMES)
def test_nothing_climbs_above_the_root(names: list[str]) -> None:
    assert absolute("/", "/../../" + "/".join(names)).startswith("/")
    assert absolute("/a", "../..") == "/"


def test_the_empty_path_is_nothing() -> None:
    with pytest.raises(OSError, match="No such file"):
        absolute("/", "")


def test_what_can_only_be_a_folder_and_what_a_right_can_name() -> None:
    assert all(must_be_folder(each) for each in (".", "..", "a/", "a/.", "a/..", "/"))
    assert not any(must_be_folder(each) for each in ("a", "a.", "a..", "/a/b"))
    assert speakable("/é") and not speakable("/\udce9")
    assert inside("/a/b", "/a") and inside("/a", "/a") and inside("/a", "/") and not inside("/ab", "/a")


# Arguments, read from memory once.


def notice(name: str, *words: int) -> Notice:
    number = next(number for number, each in calls.NAMES["x86_64"].items() if each == name)
    return Notice(1, 1, number, (*words, 0, 0, 0, 0, 0, 0)[:6])


def read(name: str, *words: int) -> calls.Request:
    memory = Memory(os.getpid())
    try:
        return calls.read_call(notice(name, *words), memory, calls.NAMES["x86_64"])
    finally:
        memory.close()


def test_calls_are_read_from_words_and_memory() -> None:
    path, other = ctypes.create_string_buffer(b"/some/\xe9"), ctypes.create_string_buffer(b"to")
    at, to = ctypes.addressof(path), ctypes.addressof(other)
    here = (1 << 64) - 100
    name = "/some/\udce9"
    assert read("open", at, os.O_RDWR, 0o644) == calls.Open(calls.HERE, name, os.O_RDWR, 0o644)
    assert read("openat", 5, at, os.O_CREAT, 0o177777) == calls.Open(5, name, os.O_CREAT, 0o7777)
    assert read("creat", at, 0o600) == calls.Open(calls.HERE, name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    assert read("newfstatat", here, at, 7, 0x100) == calls.Stat(calls.HERE, name, False, 7)
    assert read("newfstatat", 4, ctypes.addressof(ctypes.create_string_buffer(b"")), 7, 0x1000).path is None  # type: ignore[union-attr]
    assert read("statx", 4, 0, 0x1000, 0xFFF, 9) == calls.Stat(4, None, True, 9, extended=True)
    assert read("rename", at, to) == calls.Rename(calls.HERE, name, calls.HERE, "to")
    assert read("unlinkat", 3, at, 0x200) == calls.Remove(3, name, True)
    assert read("utimensat", here, at, 0, 0) == calls.ChangeTimes(calls.HERE, name, None, True)
    assert read("truncate", at, 12) == calls.Truncate(name, 12)
    assert read("access", at, 4) == calls.Access(calls.HERE, name, 4)
    assert read("connect", 6, at, 4) == calls.Connect(6, b"/som")


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("open", (0,), errno.EFAULT), ("open", ((1 << 64) - 8,), errno.EFAULT), ("open", (1 << 62,), errno.EFAULT),
        ("connect", (3, 0, 16), errno.EFAULT), ("connect", (3, 0, 1), errno.EINVAL),
        ("connect", (3, 0, 1 << 20), errno.EINVAL), ("statx", (4, 0, 0, 0, 9), errno.EFAULT),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(name: str, words: tuple[int, ...], code: int) -> None:
    with pytest.raises(OSError) as failed:
        read(name, *words)
    assert failed.value.errno == code


def test_a_path_without_an_end_is_too_long() -> None:
    endless = ctypes.create_string_buffer(b"a" * 5000, 5000)
    with pytest.raises(OSError) as failed:
        read("open", ctypes.addressof(endless))
    assert failed.value.errno == errno.ENAMETOOLONG


def test_a_call_that_is_not_answered_does_not_exist() -> None:
    memory = Memory(os.getpid())
    with pytest.raises(OSError) as failed:
        calls.read_call(Notice(1, 1, 9999, (0,) * 6), memory, calls.NAMES["x86_64"])
    memory.close()
    assert failed.value.errno == errno.ENOSYS


@given(st.integers(0, (1 << 64) - 1))
def test_a_word_is_the_int_that_it_was(word: int) -> None:
    assert calls.signed(word) == ctypes.c_int(word & 0xFFFFFFFF).value


# Rights.


def test_what_a_deed_needs() -> None:
    assert needed(File(path="/a", read=True)) == (("read", ("file:/a", "file:/a/")),)
    assert [action for action, _ in needed(File(path="/a", read=True, write=True))] == ["read", "write"]
    assert needed(Rename(path="/a", to="/b")) == (
        ("write", ("file:/a", "file:/a/")), ("write", ("file:/b", "file:/b/")),
    )  # fmt: skip
    names = ("net:tcp:site:80", "net:tcp:10.0.0.1:80")
    asked = Connect(address="10.0.0.1", port=80, names=("site",), private=True)
    assert [(action, found[:2]) for action, found in needed(asked)] == [("connect", names), ("private", names)]
    assert all(name.startswith("net:http") for _, found in needed(asked) for name in found[2:])
    assert tcp_name("::1", 9) == "net:tcp:[::1]:9"


def test_decisions_follow_the_rights_of_the_moment() -> None:
    decisions = Decisions(("/usr/lib/python3",))
    assert decisions.file("/srv/a", read=True, write=False) is None
    decisions.grant(("file:/srv/** read", "file:/srv/out/** write"))
    by = decisions.file("/srv/a", read=True, write=False)
    assert by is not None and by.rights == ("file:/srv/** read",)
    assert by.spot == Spot("/srv/a", Tree(root="/srv", follow=True), "a")
    assert decisions.file("/srv/a", read=False, write=True) is None
    decisions.grant(())
    assert decisions.file("/srv/a", read=True, write=False) is None
    assert decisions.sees("/usr/lib/python3/os.py") and not decisions.sees("/usr/lib")
    assert decisions.leads_there("/usr/lib") and decisions.leads_there("/") and not decisions.leads_there("/srv")


def test_by_two_rights_no_link_is_followed() -> None:
    decisions = Decisions(())
    decisions.grant(("file:/srv/a read", "file:/srv/** write"))
    by = decisions.file("/srv/a", read=True, write=True)
    assert by is not None and by.spot is not None and not by.spot.tree.follow


@pytest.mark.parametrize("text", ["net:tcp:site.test:80", "net:tcp:site.test connect", "net:tcp:**:80 connect"])
def test_a_right_to_connect_says_all_of_it(text: str) -> None:
    with pytest.raises(Invalid, match="is no right"):
        Right.parse(text)


def test_rights_to_connect() -> None:
    right = Right.parse("net:tcp:*.test:443 connect")
    assert right.allows("connect", "net:tcp:a.test:443")
    assert not right.allows("connect", "net:tcp:a.test:80") and not right.allows("private", "net:tcp:a.test:443")
    assert may_resolve([right], "a.test") and not may_resolve([right], "a.other")
    assert may_resolve([to_resolve("a.other")], "a.other") and may_resolve([Right("**")], "a.other")
    assert not may_resolve([Right.parse("net:tcp:a.test:* private")], "a.test")
    assert Right.parse(str(Right.parse("net:tcp:[::1]:80 *"))) == Right.parse("net:tcp:[::1]:80 *")
    assert not Right.parse("net:https://a.test/** *").allows("connect", "net:tcp:a.test:443")


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("net:https://a.test/** *", True),
        ("net:https://a.test:443/** *", True),
        ("net:https://*.test/** *", True),
        ("net:*://a.test/** *", True),
        ("net:https://a.test:*/** *", True),
        ("net:http://a.test/** *", False),
        ("net:https://a.test:8443/** *", False),
        ("net:https://b.test/** *", False),
        ("net:https://a.test/** get,post", False),
        ("net:https://a.test/** connect", True),
        ("net:https://a.test/docs/** *", False),
        ("net:https://a.test/* *", False),
        ("net:https://a.test/ *", False),
    ],
)
def test_a_right_to_a_whole_site_is_one_to_connect_there_and_to_less_is_none(text: str, reached: bool) -> None:
    right = Right.parse(text)
    decisions = Decisions(())
    decisions.grant((text,))
    deed = Connect(address="192.0.2.1", port=443, names=("a.test",))
    assert (decisions.args(deed) is not None) == reached
    if right.actions == ("*",):
        assert may_resolve([right], "a.test") == (
            text.endswith(("test/** *", "3/** *", ":*/** *")) and "b." not in text
        )


def test_private_addresses_of_a_site_are_meant_by_every_action() -> None:
    deed = Connect(address="127.0.0.1", port=443, names=("a.test",), private=True)
    decisions = Decisions(())
    decisions.grant(("net:https://a.test/** *",))
    assert decisions.args(deed) is not None
    decisions.grant(("net:https://a.test/** connect",))
    assert decisions.args(deed) is None


# Files of the host.


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (os.O_RDONLY, (True, False)), (os.O_WRONLY, (False, True)), (os.O_RDWR, (True, True)),
        (os.O_RDONLY | os.O_CREAT, (True, True)), (os.O_RDONLY | os.O_TRUNC, (True, True)),
    ],
)  # fmt: skip
def test_what_an_open_is_for(flags: int, what: tuple[bool, bool]) -> None:
    assert wanted(flags) == what


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_TMPFILE | os.O_RDWR, os.O_DIRECT, os.O_ACCMODE])
def test_what_is_never_opened(flags: int) -> None:
    with pytest.raises(OSError):
        wanted(flags)


def spot(folder: Path, inner: str) -> Spot:
    return Spot(f"{folder}/{inner}", Tree(root=str(folder), follow=True), inner)


def test_devices_and_pipes_are_not_opened_and_links_do_not_lead_out(tmp_path: Path) -> None:
    files = HostFiles(())
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "never").mkdir()
    (tmp_path / "never" / "key").write_text("key")
    for name in ("pipe", "out", "out/../../x"):
        with pytest.raises(OSError):
            files.open(spot(tmp_path, name), os.O_RDONLY, 0, folder=False)
    with pytest.raises(PermissionError, match="belongs to the kernel"):
        HostFiles((str(tmp_path / "never"),)).open(spot(tmp_path, "never/key"), os.O_RDONLY, 0, folder=False)


def test_files_are_made_with_no_more_than_was_asked(tmp_path: Path) -> None:
    files = HostFiles(())
    os.close(files.open(spot(tmp_path, "new"), os.O_CREAT | os.O_WRONLY, 0o7777, folder=False)[0])
    assert (tmp_path / "new").stat().st_mode & 0o7777 == 0o755
    with pytest.raises(FileExistsError):
        files.open(spot(tmp_path, "new"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, folder=False)


def test_a_folder_is_known_by_what_it_is(tmp_path: Path) -> None:
    folders = Folders()
    folders.opened(os.stat(tmp_path), "/shown")
    assert folders.path(os.stat(tmp_path)) == "/shown"
    with pytest.raises(NotADirectoryError):
        folders.path(os.stat(__file__))
    with pytest.raises(PermissionError):
        folders.path(os.stat("/usr"))


def test_a_stat_is_laid_out_as_the_machine_does(tmp_path: Path) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the layout of x86-64")
    file = tmp_path / "file"
    file.write_text("twelve bytes")
    libc = ctypes.CDLL(None)
    raw, extended = ctypes.create_string_buffer(144), ctypes.create_string_buffer(256)
    assert libc.syscall(4, os.fsencode(file), raw) == 0
    assert libc.syscall(332, -100, os.fsencode(file), 0, 0x7FF, extended) == 0
    found = os.stat(file)
    own = frozenset((os.geteuid(), os.getegid()))
    ourselves = struct.pack("=2I", 0, 0)
    assert stats.layout("x86_64")(found, own) == raw.raw[:28] + ourselves + raw.raw[36:]
    assert stats.layout("x86_64")(found, frozenset())[28:36] == struct.pack("=2I", 65534, 65534)
    ours = stats.statx(found, own)
    assert ours[16:28] == extended.raw[16:20] + ourselves and ours[28:32] == extended.raw[28:32]
    assert ours[32:56] == extended.raw[32:56]
    assert ours[64:76] == extended.raw[64:76] and ours[96:144] == extended.raw[96:144]


# Addresses and names.


def test_addresses_are_read_and_private_ones_known() -> None:
    four = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 80, bytes([127, 0, 0, 1]))
    peer = read_address(four)
    assert (peer.address, peer.port, peer.private) == ("127.0.0.1", 80, True)
    mapped = struct.pack("=H", socket.AF_INET6) + struct.pack(">H4x16s4x", 443, b"\0" * 10 + b"\xff\xff\x0a\0\0\1")
    peer = read_address(mapped)
    assert (peer.address, peer.private) == ("10.0.0.1", True)
    public = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 80, bytes([93, 184, 216, 34]))
    assert not read_address(public).private
    short = struct.pack("=H", socket.AF_INET6) + b"\0" * 8
    for bad in (b"\0\0", b"\2\0\0\0", struct.pack("=H", 40) + b"\0" * 14, short):
        with pytest.raises(OSError):
            read_address(bad)


def test_an_address_goes_by_the_names_that_were_looked_up() -> None:
    known = Known()
    known.found("a.test", ("10.0.0.1", "10.0.0.2"))
    known.found("b.test", ("10.0.0.1",))
    assert known.names("10.0.0.1") == ("b.test", "a.test") and known.names("10.0.0.2") == ("a.test",)
    assert known.names("10.0.0.3") == ()


def question(kind: int, name: bytes) -> bytes:
    return struct.pack("=3i", 2, kind, len(name)) + name


def test_a_name_is_asked_for_and_answered_as_glibc_does() -> None:
    asker = Asker()
    asker.theirs.setblocking(True)
    asked = question(14, b"Site.Test.\0")
    asker.theirs.send(asked[:15])
    assert asker.read() is None
    asker.theirs.send(asked[15:])
    assert asker.read() == "site.test"
    theirs = asker.theirs.dup()
    asker.answer(("10.0.0.1", "::1"))
    data = theirs.recv(1000)
    theirs.close()
    assert struct.unpack_from("=6i", data) == (2, 1, 2, 20, 0, 0)
    assert data[24:] == bytes([10, 0, 0, 1]) + b"\0" * 15 + b"\1" + bytes([socket.AF_INET, socket.AF_INET6])


@pytest.mark.parametrize("asked", [b"\0" * 12, question(13, b"hosts\0"), question(14, b"a" * 300), b"x" * 400])
def test_what_is_no_question_for_a_name_is_hung_up_on(asked: bytes) -> None:
    asker = Asker()
    asker.theirs.send(asked)
    with pytest.raises(OSError):
        asker.read()
    asker.close()


def test_only_the_socket_of_the_name_service_is_there() -> None:
    assert is_names_socket(b"\1\0/var/run/nscd/socket\0")
    assert not is_names_socket(b"\1\0/var/run/nscd/socket2\0") and not is_names_socket(b"\1\0\0abstract")
