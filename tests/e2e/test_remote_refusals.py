"""Bad input at the gateway: each is refused with a sentence that says what to do, costs only the one who brings it, and
the others go on."""

import asyncio
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from msgspec import Raw

from kernos import connect
from syscalls.calls import clock, kernel, message, process
from syscalls.codec import pack
from syscalls.errors import BrokenPipe, Invalid, PermissionDenied, SyscallError, TryAgain
from syscalls.link.blocking import BlockingLink
from syscalls.link.lasting import LastingSocket
from syscalls.link.tls import client_context, dial
from syscalls.session import greeting
from syscalls.wire import Bye, Call, FrameBuffer, Hello, decode, encode
from tests.kernelproc import trace, until
from tests.remotes import CONFIG, Listening, listening
from userland.remote import authority as certificates
from userland.remote.authority import Authority
from userland.remote.credential import attenuate, show
from userland.remote.folder import Folder

QUICK = CONFIG + "[bounds]\nhandshake_s = 1.0\n[listen]\nconnections_max = 40\n"


@pytest.fixture(scope="module")
def up() -> Iterator[Listening]:
    with listening(QUICK) as up:
        yield up


@pytest.fixture(autouse=True)
def others_go_on(up: Listening) -> Iterator[None]:
    """Somebody else's session, through all of it."""
    with up.link() as link:
        yield
        assert link.call(clock.NOW, clock.Now()).unix_s > 0


def refused(up: Listening, credential: str | None = None, **options: object) -> SyscallError:
    with pytest.raises(SyscallError) as error:
        link = up.link(credential, **options)
        try:
            link.call(process.SELF, process.Self())
        finally:
            link.close()
    return error.value


def said(sock: socket.socket) -> list[object]:
    """Every frame until the end."""
    buffer = FrameBuffer(1 << 16)
    frames: list[object] = []
    sock.settimeout(10)
    try:
        while data := sock.recv(65536):
            frames += [decode(body) for body in buffer.feed(data)]
    except ConnectionResetError:
        pass
    return frames


# Certificates.


def test_who_shows_nothing_is_told_what_to_show(up: Listening) -> None:
    error = refused(up, "")
    assert isinstance(error, PermissionDenied) and "kernos cert issue" in error.message


def test_a_certificate_is_enough(up: Listening, tmp_path: Path) -> None:
    cert, key = up.certificate(tmp_path, "enough", "process:self info", "kernel:info")
    with up.link("", cert=cert, key=key) as link:
        assert link.call(process.SELF, process.Self()).principal == "enough"
        with pytest.raises(PermissionDenied):
            link.call(kernel.SHUTDOWN, kernel.Shutdown())


def test_a_certificate_of_another_ca(up: Listening, tmp_path: Path) -> None:
    elsewhere = Authority(Folder(tmp_path / "other"))
    elsewhere.init()
    issued = elsewhere.issue("mallory", ("**",))
    (tmp_path / "c.pem").write_bytes(issued.cert + issued.key)
    error = refused(up, "", cert=str(tmp_path / "c.pem"))
    assert isinstance(error, PermissionDenied | BrokenPipe), error
    assert "certificate" in error.message


def test_a_kernel_that_another_ca_knows(up: Listening, tmp_path: Path) -> None:
    elsewhere = Folder(tmp_path / "other")
    Authority(elsewhere).init()
    error = refused(up, ca=str(elsewhere.ca_cert))
    assert isinstance(error, PermissionDenied) and "is not the kernel that" in error.message


def test_a_client_is_no_kernel(up: Listening, tmp_path: Path) -> None:
    """Who has a client's certificate cannot pose as the kernel to others."""
    cert, key = up.certificate(tmp_path, "kernos")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pose() -> None:
            sock, _ = server.accept()
            with pytest.raises(OSError), context.wrap_socket(sock, server_side=True):
                pass
            sock.close()

        thread = threading.Thread(target=pose)
        thread.start()
        error = refused(up, port=server.getsockname()[1])
        thread.join(10)
    assert isinstance(error, PermissionDenied) and "is not the kernel that" in error.message


def test_an_expired_certificate(up: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_EARLIER", datetime.timedelta(days=2))
    cert, key = up.certificate(tmp_path, "late", days=1 / 86400)
    time.sleep(1.5)
    error = refused(up, "", cert=cert, key=key)
    assert "expired" in error.message, error


def test_a_certificate_that_is_revoked_is_cut_off_where_it_is_used(up: Listening, tmp_path: Path) -> None:
    cert, key = up.certificate(tmp_path, "gone")
    link = up.link("", cert=cert, key=key)
    assert link.call(process.SELF, process.Self()).principal == "gone"
    up.authority.revoke("gone")
    with pytest.raises(PermissionDenied, match="certificate of gone was revoked"):
        link.call(clock.SLEEP, clock.Sleep(seconds=60))
    link.close()
    assert "certificate of gone was revoked" in refused(up, "", cert=cert, key=key).message


def test_a_key_that_cannot_be_read_is_the_clients_own_mistake(up: Listening, tmp_path: Path) -> None:
    cert, _ = up.certificate(tmp_path, "keyless")
    assert isinstance(refused(up, "", cert=cert, key=str(tmp_path / "none")), Invalid)
    assert isinstance(refused(up, ca=str(tmp_path / "none")), Invalid)


def test_a_kernel_that_wants_certificates_wants_them_of_all(tmp_path: Path) -> None:
    with listening(CONFIG + '[listen]\nclient_certificate = "required"\n') as strict:
        assert "certificate" in refused(strict).message
        cert, key = strict.certificate(tmp_path, "ann")
        with strict.link(cert=cert, key=key) as link:
            assert link.call(process.SELF, process.Self()).principal == "ann"


# Credentials.


def test_a_credential_that_expires_is_cut_off_where_it_is_used(up: Listening) -> None:
    link = up.link(up.credential(lasts_s=1.5))
    with pytest.raises(PermissionDenied, match="expired"):
        link.call(clock.SLEEP, clock.Sleep(seconds=60))
    link.close()
    assert "expired on" in refused(up, up.credential(lasts_s=-5)).message


def test_a_credential_that_is_revoked_is_cut_off_where_it_is_used(up: Listening) -> None:
    whole = up.credential()
    narrow = attenuate(whole, rights=("time:now", "process:self info", "**"))
    link, other = up.link(narrow), up.link(up.credential())
    up.folder.revoke({show(whole).ids[0]: "the credential was revoked"})
    with pytest.raises(PermissionDenied, match="credential was revoked"):
        link.call(clock.SLEEP, clock.Sleep(seconds=60))
    assert other.call(process.SELF, process.Self()).principal == "ann"
    other.close()
    link.close()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("truncated", "none of this kernel's"),
        ("tampered", "none of this kernel's"),
        ("elsewhere", "is for the kernel elsewhere"),
    ],
)
def test_credentials_that_are_good_for_nothing(up: Listening, given: str, why: str) -> None:
    text = up.credential(audience="elsewhere") if given == "elsewhere" else up.credential()
    if given == "truncated":
        text = text[:-16]
    elif given == "tampered":
        at = len(text) - 40
        text = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    error = refused(up, text)
    assert isinstance(error, PermissionDenied) and why in error.message


# What is no TLS, or no frame.


def test_an_older_tls_is_refused(up: Listening) -> None:
    context = client_context(up.remote())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        dial(up.remote(), context).close()


@pytest.mark.parametrize(
    "words", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", encode(Hello()), b"\x00" * 5000], ids=["http", "frames", "zeros"]
)
def test_plain_text_is_hung_up_on(up: Listening, words: bytes) -> None:
    with socket.create_connection((up.host, up.port)) as sock:
        sock.settimeout(10)
        try:
            sock.sendall(words)
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass


def test_a_plain_server_is_named_as_what_it_is_not(up: Listening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            sock, _ = server.accept()
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.close()

        thread = threading.Thread(target=answer)
        thread.start()
        error = refused(up, port=server.getsockname()[1])
        thread.join(10)
    assert isinstance(error, BrokenPipe)


@pytest.mark.parametrize(
    "words",
    [b"\xff\xff\xff\xff" + b"x" * 100, b"\x00\x00\x00\x03abc", encode(Call(1, 0, 0)), encode(Bye("no")), b"\x00\x00"],
    ids=["4 GiB", "garbage", "a call before HELLO", "BYE", "half a length"],
)
def test_what_is_no_hello_ends_that_client_only(up: Listening, words: bytes) -> None:
    with dial(up.remote(), client_context(up.remote())) as sock:
        sock.sendall(words)
        assert said(sock) == []


@pytest.mark.parametrize("lasting", [True, False])
def test_frames_that_are_none_end_that_session_only(up: Listening, lasting: bool) -> None:
    hello = Hello(credential=up.remote().credential)
    with dial(up.remote(), client_context(up.remote())) as sock:
        sock.sendall(encode(greeting(hello, b"", 0) if lasting else hello) + b"\xff\xff\xff\xff" + b"x" * 100)
        frames = said(sock)
        assert isinstance(frames[-1], Bye) and "4294967295 bytes" in frames[-1].reason


def test_a_ticket_of_ones_own_making_is_none(up: Listening) -> None:
    """The kernel's own socket, as the gateway uses it: only what kernel.admit gave opens a guest's session."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(up.up.socket))
    with sock:
        sock.sendall(encode(Hello(credential=b"x" * 32)))
        (bye,) = said(sock)
        assert isinstance(bye, Bye) and "that ticket is none" in bye.reason


# Too much, too slow.


def test_who_says_nothing_is_hung_up_on(up: Listening) -> None:
    with socket.create_connection((up.host, up.port)) as silent:
        began = time.monotonic()
        silent.settimeout(10)
        assert silent.recv(1) == b""
        assert time.monotonic() - began < 8
    with dial(up.remote(), client_context(up.remote())) as quiet:
        assert said(quiet) == []


def test_a_flood_of_connections_that_say_nothing_keeps_nobody_out(up: Listening) -> None:
    flood = [socket.create_connection((up.host, up.port)) for _ in range(200)]
    try:
        with up.link() as link:
            assert link.call(process.SELF, process.Self()).principal == "ann"
    finally:
        for sock in flood:
            sock.close()


def test_connections_and_sessions_are_bounded(up: Listening) -> None:
    """Beyond 40 connections the gateway hangs up; the sessions of one principal have a bound of their own."""
    links = []
    with pytest.raises(SyscallError) as error:
        for _ in range(60):
            links.append(up.link(up.credential(principal="many")))
    assert isinstance(error.value, BrokenPipe | TryAgain)
    assert 30 < len(links) <= 40
    for link in links:
        link.close()
    until(lambda: _let_in(up))


def _let_in(up: Listening) -> bool:
    try:
        up.link().close()
    except SyscallError:
        return False
    return True


def test_a_client_that_does_not_read_delays_nobody_and_is_bounded(up: Listening) -> None:
    """It asks for more than lies between it and the kernel, and takes nothing; calls of others are answered at once."""
    sock = LastingSocket(up.remote())
    link = BlockingLink(sock)
    me = link.call(process.SELF, process.Self()).pid
    big = Raw(pack("x" * 1_000_000))
    for _ in range(3):
        link.call(message.SEND, message.Send(pid=me, body=big))
    wanted = b"".join(encode(Call(1000 + n, 0, message.RECEIVE.number, Raw(pack(message.Receive())))) for n in range(3))
    wanted += b"".join(encode(Call(2000 + n, 0, kernel.INFO.number, Raw(b"\x80"))) for n in range(900))
    sock.sendall(wanted)
    with up.link() as other:
        for _ in range(20):
            other.call(process.SELF, process.Self())
    sock.close()


def test_clients_from_elsewhere_are_in_the_trace(up: Listening) -> None:
    with up.link(up.credential(principal="traced")) as link:
        pid = link.call(process.SELF, process.Self()).pid
    with up.up.link() as local:
        events = [record for record in trace(local) if record.kind == "remote" and record.pid == pid]
    assert events[0].detail["principal"] == "traced" and events[0].detail["address"].startswith("127.0.0.1:")


@pytest.mark.parametrize("loop", ["trio", "asyncio", "blocking"])
def test_a_listener_that_hangs_up_is_one_sentence(up: Listening, loop: str) -> None:
    async def call() -> None:
        async with connect(host=f"127.0.0.1:{port}", ca=up.folder.ca_cert, credential=up.credential()):
            pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(BrokenPipe, match=rf"127\.0\.0\.1:{port}"):
            if loop == "blocking":
                up.link(port=port)
            else:
                trio.run(call) if loop == "trio" else asyncio.run(call())
        thread.join(10)
