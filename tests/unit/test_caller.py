"""Who has connected, as two systems tell it."""

import os
import socket
import struct

import pytest

from kernel.doors.caller import caller_of, uid_in
from syscalls.errors import NoSyscall


def test_this_process_is_told_as_itself() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert caller_of(one) == (os.getpid(), os.getuid())


def test_darwins_credentials_are_read_and_another_version_is_not() -> None:
    told = struct.pack("=IIh", 0, 501, 1) + b"\0\0" + struct.pack("=16I", 20, *[0] * 15)
    assert uid_in(told) == 501
    assert uid_in(told[:12]) == 501, "fewer groups may be told"
    with pytest.raises(NoSyscall, match="version 1"):
        uid_in(struct.pack("=IIh", 1, 0, 0))


def test_where_nobody_knows_how_to_ask_nobody_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        monkeypatch.setattr("sys.platform", "plan9")
        with pytest.raises(NoSyscall, match="nobody is let in"):
            caller_of(one)
