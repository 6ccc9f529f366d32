"""What a name service says, read: as the supervisor says it, and as nobody should."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as some

from drivers.mediation.names import Asker
from userland import lookup
from userland.lookup import read_answer


def asked(addresses: tuple[str, ...]) -> bytes:
    """What the supervisor answers one who asks for all addresses of a name."""
    asker = Asker()
    with socket.socket(fileno=os.dup(asker.theirs.fileno())) as client:
        name = b"a.test\0"
        client.sendall(lookup._REQUEST.pack(2, 14, len(name)) + name)
        assert asker.read() == "a.test"
        asker.answer(addresses)
        return client.recv(4096)


@given(some.lists(some.ip_addresses().map(str), max_size=8))
def test_what_the_supervisor_says_is_read_as_it_was_meant(addresses: list[str]) -> None:
    assert read_answer(asked(tuple(addresses))) == tuple(addresses)


@given(some.binary(max_size=80))
def test_whatever_is_said_is_no_more_than_an_answer(said: bytes) -> None:
    assert all(isinstance(each, str) for each in read_answer(said))
    assert read_answer(asked(("192.0.2.1", "::1"))[:-1]) == ()


def test_where_nobody_is_to_be_asked_the_first_answer_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def finds_nothing(*args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(lookup, "_by_system", finds_nothing)
    monkeypatch.setattr(lookup, "NAME_SERVICE", "/nonexistent/socket")
    for host in ("a.test", "a" * 300, None, b"a.test"):
        with pytest.raises(socket.gaierror, match="not known"):
            lookup.getaddrinfo(host, 80)
