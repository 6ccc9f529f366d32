"""Packages by an address or a name: what is fetched is a file like any other, and what cannot be is one line."""

import functools
import http.server
import threading

from tests.commandline import CommandLine
from tests.packages import left, wheel


def test_a_package_is_installed_by_its_address_or_its_name(kernos: CommandLine) -> None:
    served = kernos.home / "served"
    place = wheel(served)
    assert kernos("pkg", "sign", place).returncode == 0
    key = kernos.json("pkg", "verify", place)["key"]
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/{place.name}"
        assert kernos.json("pkg", "install", "--yes", url)["key"] == key
        assert kernos("pkg", "remove", "words").returncode == 0
        missing = kernos("pkg", "install", "--yes", url.replace("words", "swords"))
        assert missing.returncode == 3 and "there is nothing" in missing.stderr
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    gone = kernos("pkg", "install", "--yes", url)
    assert gone.returncode == 125 and "cannot be fetched" in gone.stderr
    assert kernos("pkg", "install", "--yes", f"{url}.zip").returncode == 2
    named = kernos.json("pkg", "install", "--yes", "--find-links", served, "--no-index", "words==1.0")
    assert named["key"] == key and kernos("run", "words:hello").stdout == "hello you\n"
    unknown = kernos("pkg", "install", "--yes", "--find-links", served, "--no-index", "nobodys")
    assert unknown.returncode == 2 and "nobodys" in unknown.stderr


class Broken(http.server.BaseHTTPRequestHandler):
    """Answers as no web server should."""

    def do_GET(self) -> None:
        if "/garbage/" in self.path:
            self.wfile.write(b"nonsense\r\n\r\n")
            return
        self.send_response(302 if "/led/" in self.path else 500 if "/error/" in self.path else 200)
        for word, header in (
            ("/short/", ("Content-Length", "1000")),
            ("/cut/", ("Transfer-Encoding", "chunked")),
            ("/led/", ("Location", "file:///etc/passwd")),
        ):
            if word in self.path:
                self.send_header(*header)
        self.end_headers()
        self.wfile.write(b"10\r\nabc")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


def test_an_address_that_does_not_answer_as_it_should_is_one_line(kernos: CommandLine) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    here = f"http://127.0.0.1:{server.server_port}"
    try:
        for url, reason in (
            (f"{here}/garbage/x.whl", "what answers there is no web server, or broke off"),
            (f"{here}/cut/x.whl", "what answers there is no web server, or broke off"),
            (f"{here}/short/x.whl", "7 of 1000 bytes came"),
            (f"{here}/led/x.whl", "is not allowed"),
            (f"{here}/error/x.whl", "500"),
            (f"{here}/page/x.whl", "no wheel"),
            ("http://a b/x.whl", "is no address"),
            ("http://[x/x.whl", "is no address"),
            ("ftp://example.com/x.whl", "packages come from https://"),
            ("x>1", "it is no name"),
            (".", "is a folder"),
        ):
            done = kernos("pkg", "install", "--unsigned", "--yes", url)
            assert done.returncode != 0 and reason in done.stderr, (url, done.stderr)
            assert done.stderr.count("\n") == 1, done.stderr
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert left(kernos) == []
