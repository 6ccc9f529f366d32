"""net.fetch through a whole kernel and the real broker, against servers on loopback that mean no good."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import kernos.testing
from drivers.web.decode import Inflated
from kernel.config import Bounds, NetConfig
from kernos import Sys, program
from kernos.testing.machine import InProcess
from syscalls.errors import Invalid, IOFailed, NotFound, PermissionDenied, TimedOut, TryAgain
from syscalls.limits import KIB, MIB
from tests.webserver import DRIVER, NAMES, certificate, reply, site
from userland.sdk.child import ChildFailed


@pytest.fixture(autouse=True)
def fresh_names() -> Iterator[None]:
    NAMES.answers.clear()
    NAMES.asked.clear()
    yield


def web(**options: Any) -> InProcess:
    return kernos.testing.up(web=DRIVER, **options)


async def as_program(machine: InProcess, body: Any, *rights: str) -> Any:
    @program
    async def probe(sys: Sys) -> Any:
        return await body(sys)

    return await machine.run(probe, rights=rights)


async def test_a_page_is_fetched() -> None:
    async with (
        site({"/a": reply(200, b"hello", Content_Type="text/plain; charset=latin-1")}) as server,
        web() as machine,
    ):
        answer = await machine.sys.fetch(server.url("/a?q=1"), headers={"X-Mine": "yes"})
        assert (answer.status, answer.text, answer.ok, answer.truncated) == (200, "hello", True, False)
        assert answer.url == server.url("/a?q=1")
        assert answer.headers["content-type"] == "text/plain; charset=latin-1"
        head = server.asked[0].decode()
        assert head.startswith(f"GET /a?q=1 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-Mine: yes\r\n")
        assert not (await machine.sys.fetch(server.url("/none"))).ok
        posted = await machine.sys.fetch(server.url("/a"), method="POST", json={"a": 1})
        assert posted.status == 200
        assert server.asked[-1].endswith(b'\r\n\r\n{"a": 1}')
        assert machine.machine.devices.web.busy.total() == 0


async def test_the_right_is_host_path_and_method() -> None:
    async with site({"/a/b": reply(200, b"b"), "/c": reply(200)}) as server, web() as machine:
        origin = f"net:http://127.0.0.1:{server.port}"

        async def body(sys: Sys) -> None:
            assert (await sys.fetch(server.url("/a/b"))).text == "b"
            with pytest.raises(PermissionDenied, match=r"lacks the right 'net:http.* post'"):
                await sys.fetch(server.url("/a/b"), method="POST")
            for url in (
                server.url("/c"),
                f"http://127.0.0.1:{server.port + 1}/a/b",
                f"https://127.0.0.1:{server.port}/a/b",
                server.url("/a/b", "localhost"),
            ):
                with pytest.raises(PermissionDenied, match="lacks the right 'net:http"):
                    await sys.fetch(url)
            for url in (
                server.url("/a/../c"),
                server.url("/a/%2e%2e/c"),
                server.url("/a/..%2Fc"),
                server.url("/a/..;/c"),
            ):
                with pytest.raises(Invalid, match=r"without '\.'"):
                    await sys.fetch(url)

        await as_program(machine, body, f"{origin}/a/** get,private")
        assert [each.split()[1] for each in server.asked] == [b"/a/b"]


async def test_private_addresses_need_their_own_word() -> None:
    NAMES.answers["inside.test"] = [("10.1.2.3",)]
    NAMES.answers["mixed.test"] = [("93.184.216.34", "127.0.0.1")]
    NAMES.answers["mapped.test"] = [("::ffff:169.254.169.254",)]
    async with site({"/": reply(200)}) as server, web() as machine:

        async def body(sys: Sys) -> None:
            for url in (
                server.url(), "http://169.254.169.254/latest/", "http://[::1]/", "http://0.0.0.0/",
                "http://inside.test/", "http://mixed.test/", "http://mapped.test/", "http://[fd00::1]/",
            ):  # fmt: skip
                with pytest.raises(PermissionDenied, match=r"is not public \(.*--allow 'net:http.* get,private'"):
                    await sys.fetch(url)

        await as_program(machine, body, "net:http://*/** get")
        assert server.asked == []


async def test_a_name_is_looked_up_once_and_what_was_looked_at_is_connected_to() -> None:
    async with site({"/": reply(200, b"here")}) as server, web() as machine:
        NAMES.answers["rebind.test"] = [("127.0.0.1",), ("192.168.0.1",)]
        answer = await machine.sys.fetch(server.url("/", "rebind.test"))
        assert answer.text == "here"
        assert NAMES.asked == ["rebind.test"]
        assert f"Host: rebind.test:{server.port}".encode() in server.asked[0]


async def test_each_hop_of_a_redirect_needs_its_own_right_and_address() -> None:
    NAMES.answers["a.test"] = [("127.0.0.1",)]
    NAMES.answers["b.test"] = [("127.0.0.1",)]
    pages: dict[str, Any] = {}
    async with site(pages) as server, web() as machine:
        port = server.port
        pages["/ok"] = reply(200, b"done")
        pages["/near"] = reply(302, Location="/ok")
        pages["/far"] = reply(302, Location=f"http://b.test:{port}/ok")
        pages["/wild"] = reply(302, Location="file:///etc/passwd")
        pages["/loop"] = reply(307, Location="/loop")
        pages["/up"] = reply(302, Location=f"http://a.test:{port}/secret/x")

        async def body(sys: Sys) -> None:
            near = await sys.fetch(f"http://a.test:{port}/near")
            assert (near.text, near.url) == ("done", f"http://a.test:{port}/ok")
            with pytest.raises(PermissionDenied, match=r"b.test:\d+/ok get"):
                await sys.fetch(f"http://a.test:{port}/far")
            with pytest.raises(PermissionDenied, match=r"/secret/x get"):
                await sys.fetch(f"http://a.test:{port}/up")
            with pytest.raises(IOFailed, match="no address"):
                await sys.fetch(f"http://a.test:{port}/wild")
            with pytest.raises(IOFailed, match="more than 5 redirects"):
                await sys.fetch(f"http://a.test:{port}/loop")
            assert (await sys.fetch(f"http://a.test:{port}/loop", redirects=0)).status == 307

        async def narrow(sys: Sys) -> None:
            with pytest.raises(PermissionDenied, match=r"b.test is 127.0.0.1, which is not public"):
                await sys.fetch(f"http://a.test:{port}/far")

        own = [f"net:http://a.test:{port}/{path} get,private" for path in ("near", "far", "wild", "loop", "ok", "up")]
        await as_program(machine, body, *own)
        await as_program(machine, narrow, *own, "net:http://*/** get")
        assert not any(b"b.test" in each for each in server.asked)


async def test_credentials_do_not_follow_to_another_origin_and_a_post_becomes_a_get() -> None:
    pages: dict[str, Any] = {}
    async with site(pages) as server, web() as machine:
        pages["/a"] = reply(302, Location=server.url("/b", "other.test"))
        pages["/b"] = reply(200)
        pages["/c"] = reply(307, Location="/b")
        headers = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Key": "k", "Accept": "text/html"}
        await machine.sys.fetch(server.url("/a"), method="POST", body="secret", headers=headers)
        first, second = (each.decode().lower() for each in server.asked)
        assert "authorization: bearer x" in first
        assert second.startswith("get /b")
        assert "accept: text/html" in second
        assert not any(word in second for word in ("bearer", "cookie", "x-key", "secret", "content-length"))
        await machine.sys.fetch(server.url("/c"), method="POST", body="again", headers=headers)
        assert server.asked[-1].startswith(b"POST /b") and server.asked[-1].endswith(b"again")
        assert b"Bearer x" in server.asked[-1]


async def test_a_body_is_unpacked_and_a_bomb_is_not() -> None:
    bomb = gzip.compress(bytes(512 * MIB // 8), 9)
    deflate = zlib.compressobj(wbits=-15)
    pages: dict[str, Any] = {
        "/gzip": reply(200, gzip.compress(b"a" * 100_000) + gzip.compress(b"b"), Content_Encoding="gzip"),
        "/deflate": reply(200, deflate.compress(b"raw") + deflate.flush(), Content_Encoding="deflate"),
        "/bomb": reply(200, bomb, Content_Encoding="gzip"),
        "/cut": reply(200, gzip.compress(b"x" * 1000)[:-9], Content_Encoding="gzip"),
        "/lie": reply(200, b"not gzip at all", Content_Encoding="gzip"),
        "/odd": reply(200, b"odd", Content_Encoding="br"),
    }
    async with site(pages) as server, web() as machine:
        assert (await machine.sys.fetch(server.url("/gzip"))).body == b"a" * 100_000 + b"b"
        answer = await machine.sys.fetch(server.url("/deflate"))
        assert answer.body == b"raw"
        assert "content-encoding" not in answer.headers
        bombed = await machine.sys.fetch(server.url("/bomb"), bytes_max=100_000)
        assert (len(bombed.body), bombed.truncated) == (100_000, True)
        for path in ("/cut", "/lie"):
            with pytest.raises(IOFailed, match="packed"):
                await machine.sys.fetch(server.url(path))
        odd = await machine.sys.fetch(server.url("/odd"))
        assert (odd.body, odd.headers["content-encoding"]) == (b"odd", "br")


def test_a_body_is_unpacked_a_piece_at_a_time() -> None:
    decoder = Inflated()
    decoder.feed(gzip.compress(bytes(1000) * 1000))
    taken = []
    while data := decoder.take(4096):
        taken.append(len(data))
    assert (max(taken), sum(taken)) == (4096, 1_000_000)
    decoder.finish()


async def test_chunked_bodies_and_limits_to_the_byte() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 3 + b"0\r\n\r\n"
    async with site({"/": chunked, "/cut": chunked[:-8]}) as server, web() as machine:
        assert (await machine.sys.fetch(server.url())).body == b"hello" * 3
        exact = await machine.sys.fetch(server.url(), bytes_max=15)
        assert (len(exact.body), exact.truncated) == (15, False)
        less = await machine.sys.fetch(server.url(), bytes_max=14)
        assert (len(less.body), less.truncated) == (14, True)
        with pytest.raises(IOFailed, match="connection broke"):
            await machine.sys.fetch(server.url("/cut"))


async def test_servers_that_dawdle_or_babble_are_left() -> None:
    async def slowly(stream: trio.abc.Stream) -> None:
        for byte in reply(200, b"x" * 100):
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.05)

    async def endless(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send_all(b"X-Filler: " + b"x" * 1000 + b"\r\n")

    async def interim(stream: trio.abc.Stream) -> None:
        while True:
            await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    pages: dict[str, Any] = {
        "/slow": slowly,
        "/endless": endless,
        "/interim": interim,
        "/no": b"220 smtp ready\r\n\r\n",
    }
    async with site(pages) as server, web() as machine:
        with pytest.raises(TimedOut, match=r"longer than 0.2 s"):
            await machine.sys.fetch(server.url("/slow"), timeout_s=0.2)
        for path in ("/endless", "/interim", "/no"):
            with pytest.raises(IOFailed):
                await machine.sys.fetch(server.url(path))


async def test_a_reader_that_leaves_closes_the_connection_and_one_that_waits_stops_it() -> None:
    sent = 0

    async def endless(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 64 * KIB)
            sent += 64 * KIB

    async with site({"/": endless}) as server, web() as machine:
        async with machine.sys.fetch(server.url(), bytes_max=1 << 40) as fetch:
            assert (await fetch.head()).status == 200
            assert len(await fetch.__anext__()) > 0
            before = -1
            while before != sent:
                before = sent
                await trio.sleep(0.1)
            assert sent < 32 * MIB, "what nobody reads is not fetched"
            assert not server.gone.is_set()
        await server.gone.wait()


async def test_headers_that_are_the_brokers_or_break_lines_are_refused() -> None:
    async with site({"/": reply(200)}) as server, web() as machine:
        for name, value in (
            ("Host", "other"), ("Content-Length", "7"), ("Transfer-Encoding", "chunked"), ("Connection", "x"),
            ("Proxy-Authorization", "x"), ("X-A", "b\r\nX-C: d"), ("X-A\r\nB", "c"), ("X A", "b"), ("", "x"),
            ("X-A", "\0"), ("X-A", "ключ"),
        ):  # fmt: skip
            with pytest.raises(Invalid, match="header"):
                await machine.sys.fetch(server.url(), headers={name: value})
        wrong: tuple[dict[str, Any], ...] = (
            {"timeout_s": 0},
            {"timeout_s": float("nan")},
            {"redirects": 99},
            {"bytes_max": -1},
            {"body": "x"},
        )
        for options in wrong:
            with pytest.raises(Invalid):
                await machine.sys.fetch(server.url(), **options)
        assert server.asked == []


async def test_tls_is_checked_against_the_name(tmp_path: Path) -> None:
    tls, authority = certificate(tmp_path, "good.test")
    async with site({"/": reply(200, b"secure")}, tls=tls) as server:
        async with web(net=NetConfig(ca_file=str(authority))) as machine:
            assert (await machine.sys.fetch(f"https://good.test:{server.port}/")).text == "secure"
            with pytest.raises(IOFailed, match=r"evil.test:\d+: its certificate is not good"):
                await machine.sys.fetch(f"https://evil.test:{server.port}/")
        async with web() as machine:
            with pytest.raises(IOFailed, match="certificate is not good"):
                await machine.sys.fetch(f"https://good.test:{server.port}/")


async def test_who_is_not_there_is_told_apart() -> None:
    async with kernos.testing.up(web="fetch", net=NetConfig(hosts={"mine.test": ("127.0.0.1",)})) as machine:
        with pytest.raises(NotFound, match=r"no host no-such-host.invalid"):
            await machine.sys.fetch("http://no-such-host.invalid/")
        with pytest.raises(TryAgain, match=r"nothing answers at mine.test:1"):
            await machine.sys.fetch("http://mine.test:1/")
        async with site({"/": reply(200, b"mine")}) as server:
            assert (await machine.sys.fetch(server.url("/", "mine.test"))).text == "mine"


async def test_requests_under_way_are_bounded() -> None:
    hanging = trio.Event()

    async def hangs(stream: trio.abc.Stream) -> None:
        hanging.set()
        await trio.sleep_forever()

    async with site({"/": hangs}) as server, web(bounds=Bounds(fetches_max=1)) as machine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine.sys.fetch(server.url()).head)
            await hanging.wait()
            with pytest.raises(TryAgain, match="1 requests under way"):
                await machine.sys.fetch(server.url())
            nursery.cancel_scope.cancel()


def test_a_program_is_tested_with_pages_of_the_tests(kernel: Any) -> None:
    @program
    async def reads(sys: Sys) -> list[Any]:
        await sys.sleep(600)
        page = await sys.fetch("https://example.com/page?x=1")
        await sys.files.write("~/page", page.body)
        missing = await sys.fetch("https://example.com/none")
        return [
            page.text,
            missing.status,
            (await sys.files.read("~/page")).decode(),
            await sys.files.read_text("~/old"),
        ]

    pages = {
        "https://example.com/page": "hello",
        "https://example.com": {"status": 302, "headers": {"Location": "/page"}},
    }
    assert kernel.run(reads, web=pages, files={"old": "kept"}) == ["hello", 404, "hello", "kept"]

    @program
    async def strays(sys: Sys) -> str:
        assert (await sys.fetch("https://example.com/")).text == "hello"
        return (await sys.fetch("https://elsewhere.com/")).text

    with pytest.raises(ChildFailed, match=r"no host elsewhere.com"):
        kernel.run(strays, web=pages)
