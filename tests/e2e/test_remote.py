"""A kernel over TLS: what a client may, what happens when the line is cut, when the gateway dies, when the client
stays away."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from msgspec import Raw

from kernos import Sys, connect, connect_blocking, user
from syscalls.calls import admission, clock, kernel, message, model, process
from syscalls.codec import pack, unpack
from syscalls.errors import BrokenPipe, Fenced, PermissionDenied
from syscalls.link.blocking import BlockingLink
from syscalls.link.lasting import LastingSocket
from syscalls.link.tls import client_context, dial
from syscalls.wire import FrameBuffer, Hello, decode, encode
from tests.kernelproc import kernel_up, trace, until
from tests.remotes import CONFIG, Listening, Proxy, listening

WORDS = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def up() -> Iterator[Listening]:
    with listening() as up:
        yield up


@pytest.fixture
def proxy(up: Listening) -> Iterator[Proxy]:
    with up.proxy() as proxy:
        yield proxy


def said(link: BlockingLink, on_piece: Any = lambda: None) -> str:
    text = ""
    for piece in link.stream(model.GENERATE, model.OneShot(turns=(user("count"),))):
        text += piece.text
        on_piece()
    return text


def sessions(up: Listening) -> list[process.ProcessInfo]:
    with up.up.link() as link:
        found = link.call(process.LIST, process.ListProcesses(all=True)).processes
    return [info for info in found if info.name == "remote"]


def test_a_client_is_whom_its_credential_names_and_may_what_it_says(up: Listening) -> None:
    with up.link(up.credential("kernel:info", "model:* generate", principal="bob")) as link:
        info = link.call(process.SELF, process.Self())
        assert (info.principal, info.kind, info.rights) == ("bob", "session", ("kernel:info", "model:* generate"))
        assert said(link) == WORDS
        with pytest.raises(PermissionDenied, match=r"kernel:power shutdown.*get one made with --allow"):
            link.call(kernel.SHUTDOWN, kernel.Shutdown())
        with pytest.raises(PermissionDenied, match="kernel:sessions admit"):
            link.call(admission.ADMIT, admission.Admit(principal="root", rights=("**",)))


def test_a_stream_goes_on_over_a_line_that_is_cut_again_and_again(up: Listening, proxy: Proxy) -> None:
    with up.link(port=proxy.port) as link:
        pieces = iter(range(100))

        def cut() -> None:
            if next(pieces) % 2:
                proxy.cut()

        assert said(link, cut) == WORDS
        assert proxy.connections > 3


def test_a_call_is_executed_once_whatever_is_cut(up: Listening, proxy: Proxy) -> None:
    """Each connection ends after so few bytes that most calls are interrupted on their way."""
    with up.link(port=proxy.port) as link:
        me = link.call(process.SELF, process.Self()).pid
        proxy.cut_after = 1500  # the handshake takes most of it
        proxy.cut()
        for n in range(40):
            link.call(message.SEND, message.Send(pid=me, body=Raw(pack(n))))
        proxy.cut_after = None
        proxy.cut()
        got = [unpack(int, link.call(message.RECEIVE, message.Receive(timeout_s=0.5)).body) for _ in range(40)]
        assert got == list(range(40))
        with pytest.raises(TimeoutError):
            link.call(message.RECEIVE, message.Receive(timeout_s=0.1))
        assert proxy.connections > 2


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_calls_in_flight_only_take_longer(up: Listening, proxy: Proxy, loop: str) -> None:
    async def talk() -> tuple[str, str]:
        address, ca, credential = f"127.0.0.1:{proxy.port}", up.folder.ca_cert, up.credential()
        async with connect(host=address, ca=ca, credential=credential) as sys:
            heard = ""
            async for text in sys.generate(user("count")):
                heard += text
                if len(heard) < 20:
                    proxy.cut()
            assert isinstance(sys, Sys)
            return heard, (await sys.self()).principal

    assert (trio.run(talk) if loop == "trio" else asyncio.run(talk())) == (WORDS, "ann")


def test_threads_share_a_session(up: Listening, proxy: Proxy) -> None:
    address, ca, credential = f"127.0.0.1:{proxy.port}", up.folder.ca_cert, up.credential()
    heard: list[str] = []
    with connect_blocking(host=address, ca=ca, credential=credential) as sys:
        threads = [threading.Thread(target=lambda: heard.append("".join(sys.pieces(user("count"))))) for _ in range(4)]
        for thread in threads:
            thread.start()
        proxy.cut()
        for thread in threads:
            thread.join(30)
        assert heard == [WORDS] * 4
        assert sys.generate(user("count")).turn.text == WORDS
        assert sys.call("process.self").pid == sys.pid


def test_a_gateway_that_is_killed_is_started_again_and_sessions_go_on(up: Listening) -> None:
    with up.link() as link:
        pid = link.call(process.SELF, process.Self()).pid
        with up.up.link() as local:
            gateway = int([r for r in trace(local) if r.kind == "gateway"][-1].detail["os_pid"])
        killed = iter([True])
        assert said(link, lambda: os.kill(gateway, signal.SIGKILL) if next(killed, False) else None) == WORDS
        assert link.call(process.SELF, process.Self()).pid == pid


def test_a_client_that_says_farewell_is_gone_at_once(up: Listening) -> None:
    before = {info.pid for info in sessions(up)}
    with up.link() as link:
        pid = link.call(process.SELF, process.Self()).pid
        assert pid in {info.pid for info in sessions(up)} - before
    until(lambda: pid not in {info.pid for info in sessions(up)})


def test_calls_go_on_while_the_client_is_away_and_all_ends_with_the_lease() -> None:
    with listening(CONFIG + "[listen]\nlease_s = 1.5\n") as up, up.proxy() as proxy:
        link = up.link(port=proxy.port)
        pid = link.call(process.SELF, process.Self()).pid
        waiting = threading.Thread(target=lambda: _quietly(link, 60.0), daemon=True)
        waiting.start()
        until(lambda: any(info.pid == pid and info.state == "waiting" for info in sessions(up)))
        proxy.close()
        gone_s = time.monotonic()
        assert any(info.pid == pid and info.state == "waiting" for info in sessions(up)), "it was ended with its line"
        until(lambda: not sessions(up))
        assert time.monotonic() - gone_s > 1.0
        with up.up.link() as local:
            ended = [r for r in trace(local) if r.kind == "exit" and r.pid == pid]
            assert "lease of 1.5 s is over" in ended[0].detail["error"]
        waiting.join(20)


def _quietly(link: BlockingLink, seconds: float) -> None:
    with pytest.raises(BrokenPipe):
        link.call(clock.SLEEP, clock.Sleep(seconds=seconds))


def test_a_second_connection_takes_the_session_over_and_the_first_is_fenced(up: Listening) -> None:
    first = LastingSocket(up.remote())
    with BlockingLink(first) as link:
        assert link.call(process.SELF, process.Self()).name == "remote"
        second = LastingSocket(up.remote())
        second.close()
        second._session, second._end = first._session, first._end
        second._greet().close()
        with pytest.raises(Fenced, match="another connection has taken this session over"):
            link.call(process.SELF, process.Self())
        with pytest.raises(Fenced):
            link.call(process.SELF, process.Self())


def test_a_session_is_nobody_elses(up: Listening) -> None:
    mine = LastingSocket(up.remote())
    link = BlockingLink(mine)
    for thief, errno, why in (
        (up.credential(principal="bob"), PermissionDenied, "another principal's"),
        (up.credential("kernel:info"), PermissionDenied, "which this credential does not give"),
    ):
        other = LastingSocket(up.remote(thief))
        other.close()
        other._session = mine._session
        with pytest.raises(errno, match=why):
            other._greet()
    assert link.call(process.SELF, process.Self()).principal == "ann", "who was turned away fenced nobody"
    link.close()


def test_a_session_that_the_kernel_does_not_know_is_not_begun_anew(up: Listening) -> None:
    """Calls that were executed in the one that is gone would be executed twice."""
    stranger = LastingSocket(up.remote())
    stranger.close()
    stranger._session = b"x" * 16
    with pytest.raises(BrokenPipe, match="no such session: its lease is over"):
        stranger._greet()


def test_the_client_of_another_abi_is_told_both_versions(up: Listening) -> None:
    raw = dial(up.remote(), client_context(up.remote()))
    raw.sendall(encode(Hello(abi=7, credential=up.remote().credential)))
    data = raw.recv(65536)
    (bye,) = [decode(body) for body in FrameBuffer(65536).feed(data)]
    assert "one end speaks ABI 1, the other ABI 7: upgrade kernos at the end with ABI 1" in str(bye)
    raw.close()


def test_a_kernel_that_does_not_listen_listens_nowhere() -> None:
    with kernel_up(config=CONFIG) as plain, plain.link() as link:
        assert link.call(kernel.INFO, kernel.Info()).listening == ""
