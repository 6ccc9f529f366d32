"""Parsers of documents through the real command line: built by our hook, installed, used by `ask`; and hostile ones."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.commandline import SIM, CommandLine
from tests.packages import left, wheel

PYPROJECT = """\
[build-system]
requires = ["kernos"]
build-backend = "kernos.build"

[project]
name = "web-pages"
version = "1.0"
description = "Makes text of web pages"
requires-python = ">=3.11"

[tool.kernos.parsers.html]
parse = "web_pages:text_of"
suffixes = [".html", ".htm"]
types = ["text/html"]
"""
HTML = """
from html.parser import HTMLParser


class Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.hidden = [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if data.strip() and not self.hidden:
            self.found.append(data.strip())


def text_of(data):
    page = Text()
    page.feed(data.decode())
    yield from page.found
"""
HOSTILE = '''
import os
import socket
import time

MARK = []


def hangs(data):
    while True:
        pass


def sleeps(data):
    time.sleep(1000)


def floods(data):
    while True:
        print("x" * 65536, flush=True)


def swells(data):
    return "x" * (1 << 40)


def wide(data):
    return "x" * (12 << 20)


def dies(data):
    os._exit(3)


def looks(data):
    """What of the machine it can read: the folder of the document, the host's files, another process, the network."""
    told = []
    for path in (data.decode().strip(), "/etc/passwd", "/proc/1/environ"):
        try:
            with open(path) as file:
                told.append(file.read(20))
        except OSError as refused:
            told.append(type(refused).__name__)
    try:
        socket.socket(socket.AF_INET).connect(("127.0.0.1", 1))
        told.append("connected")
    except OSError as refused:
        told.append(type(refused).__name__)
    return " ".join(told)


def counts(data):
    """How many documents this worker has seen."""
    MARK.append(data)
    return f"document {len(MARK)}"
'''
READS = '''
from pathlib import Path

from kernos import Sys, SyscallError, program


@program
async def reads(sys: Sys, folder: str) -> dict[str, str]:
    """Has each file of a folder parsed, and says what came of it."""
    parsers, told = await sys.parsers(), {}
    for path in sorted(Path(folder).iterdir()):
        try:
            text = await parsers(path.read_bytes(), file=path.name)
            told[path.name] = text if len(text) < 500 else f"{len(text)} characters"
        except SyscallError as failed:
            told[path.name] = str(failed)
    return told
'''


@pytest.fixture
def kernos(tmp_path: Path) -> CommandLine:
    home = CommandLine(tmp_path)
    for path in (home.config, home.home / "config" / "kernos" / "kernos.toml"):
        path.write_text(f"{SIM}[bounds]\nparse_s = 1.5\n")
    (home.home / "reads.py").write_text(READS)
    (home.home / "docs").mkdir()
    return home


def install(kernos: CommandLine, place: object) -> None:
    done = kernos("pkg", "install", "--unsigned", "--yes", place)
    assert done.returncode == 0, done.stderr


def test_ask_reads_what_an_installed_parser_is_for(kernos: CommandLine) -> None:
    source = kernos.home / "web-pages"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "web_pages.py").write_text(f'"""Makes text of web pages."""\n{HTML}')
    built = kernos("pkg", "build", "web-pages")
    assert built.returncode == 0, built.stderr
    page = "<html><style>p {}</style><p>Moraines are walls of rubble.<p>Eskers are ridges of gravel."
    (kernos.home / "docs" / "glaciers.HTM").write_text(page)
    (kernos.home / "docs" / "bad.html").write_bytes(b"\xff\xfe")
    (kernos.home / "docs" / "plain.txt").write_text("Kames are mounds.")
    before = json.loads(kernos("run", "-o", "json", "ask", "What?", "docs").stdout)["value"]
    assert (before["files"], len(before["skipped"])) == (2, 1), "a page is read as the text that it is"
    place = kernos.home / "web-pages" / "dist" / "web_pages-1.0-py3-none-any.whl"
    verified = kernos("pkg", "verify", place).stdout
    assert "parser   .html, .htm, text/html" in verified and "it asks for nothing" in verified
    installed = kernos("pkg", "install", "--unsigned", place)
    assert installed.returncode == 0 and "parser .html, .htm, text/html" in installed.stderr, installed.stderr
    done = kernos("run", "-o", "json", "ask", "--first", "--passages", "9", "What are eskers?", "docs")
    asked = json.loads(done.stdout)["value"]
    (skipped,) = asked["skipped"]
    assert skipped.startswith("skipped bad.html: parser web-pages.html failed: UnicodeDecodeError: 'utf-8' codec")
    assert skipped.isprintable() and asked["files"] == 2
    texts = [source["text"] for answer in asked["answers"] for source in answer["sources"]]
    assert "Moraines are walls of rubble.\n\nEskers are ridges of gravel." in texts
    assert "parser   .html, .htm, text/html" in kernos("pkg", "show", "web-pages").stdout
    assert ".html, .htm" in kernos("pkg", "list").stdout
    assert kernos("pkg", "remove", "web-pages").returncode == 0 and left(kernos) == []


def test_a_hostile_parser_costs_its_own_file_and_nothing_else(kernos: CommandLine) -> None:
    kinds = ("hangs", "sleeps", "floods", "swells", "wide", "dies", "looks", "counts")
    parsers = {kind: {"parse": f"words:{kind}", "suffixes": [f".{kind}"]} for kind in kinds}
    asked = [{"right": "file:/etc/** read", "why": "to look"}, {"right": "net:**", "why": "to tell"}]
    manifest = {"parsers": parsers, "programs": {}, "rights": asked, "limits": {"memory_mib": 256}}
    install(kernos, wheel(kernos.home, manifest=manifest, files={"words.py": HOSTILE}))
    docs = kernos.home / "docs"
    for kind in kinds:
        (docs / f"a.{kind}").write_text("x")
    (docs / "b.counts").write_text("x")
    (docs / "a.looks").write_text(str(docs / "a.hangs"))
    done = kernos("run", "--allow", f"file:{docs}/** read", "--allow", "parser:*", "reads.py", str(docs))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    late = "ELIMIT: parser words.{} was ended: wall: 1.5 s"
    assert told["a.hangs"] == late.format("hangs") and told["a.sleeps"] == late.format("sleeps")
    assert told["a.floods"] == "ELIMIT: parser words.floods was ended: output: 1 MiB/s"
    assert told["a.swells"].startswith("EIO: parser words.swells ")
    assert "more than 8388608 bytes of text" in told["a.wide"]
    assert told["a.dies"] == "EIO: parser words.dies died over a.dies"
    assert told["a.counts"] == told["b.counts"] == "document 1", "a worker reads one document"
    for each in told["a.looks"].split():
        assert each in ("PermissionError", "FileNotFoundError", "OSError"), told["a.looks"]


def test_two_packages_cannot_parse_the_same_files(kernos: CommandLine) -> None:
    def make(name: str, *suffixes: str) -> Path:
        parsers = {"x": {"parse": f"{name}:hello", "suffixes": list(suffixes)}}
        return wheel(kernos.home, name=name, manifest={"parsers": parsers, "programs": {}})

    install(kernos, make("first", ".doc"))
    refused = kernos("pkg", "install", "--unsigned", "--yes", make("second", ".rtf", ".doc"))
    assert refused.returncode == 5
    assert refused.stderr == (
        "kernos: second parses .doc, and so does first, which is installed: keep one of them "
        "('kernos pkg remove first')\n"
    )
    plain = kernos("pkg", "install", "--unsigned", "--yes", make("third", ".md"))
    assert plain.returncode == 2 and ".md is text as it is, and needs no parser" in plain.stderr
    assert [row["manifest"]["name"] for row in kernos.json("pkg", "list")] == ["first"]


def test_the_parser_of_the_page_parses_notebooks(kernos: CommandLine) -> None:
    page = (Path(__file__).parents[2] / "docs" / "packages.md").read_text()
    (code,) = re.findall(r"```python\n(import json.*?)```", page, flags=re.DOTALL)
    (section,) = re.findall(r"(\[tool\.kernos\.parsers\.notebooks\].*?)\n\n", page, flags=re.DOTALL)
    parsers = tomllib.loads(section)["tool"]["kernos"]["parsers"]
    install(kernos, wheel(kernos.home, name="finder", manifest={"parsers": parsers}, files={"finder.py": code}))
    docs = kernos.home / "docs"
    cells = [{"cell_type": "markdown", "source": ["# Tea\n", "green"]}, {"cell_type": "code", "source": "1 + 1"}]
    (docs / "a.ipynb").write_text(json.dumps({"cells": cells}))
    (docs / "b.ipynb").write_text("{}")
    done = kernos("run", "--allow", f"file:{docs}/** read", "--allow", "parser:*", "reads.py", str(docs))
    assert json.loads(done.stdout) == {
        "a.ipynb": "# Tea\ngreen\n\n1 + 1",
        "b.ipynb": "EIO: parser finder.notebooks failed: KeyError: 'cells'",
    }, done.stderr


def test_a_begun_parser_builds_installs_and_parses(kernos: CommandLine) -> None:
    begun = kernos("pkg", "new", "--parser", "tables")
    assert begun.returncode == 0 and "next: kernos pkg build tables" in begun.stderr
    assert kernos("pkg", "build", "tables").returncode == 0
    install(kernos, "tables/dist/tables-0.1.0-py3-none-any.whl")
    (kernos.home / "docs" / "a.csv").write_text("name,age\nann,7\nbob,\n")
    docs = kernos.home / "docs"
    done = kernos("run", "--allow", f"file:{docs}/** read", "--allow", "parser:*", "reads.py", str(docs))
    assert json.loads(done.stdout) == {"a.csv": "name: ann; age: 7\n\nname: bob"}, done.stderr
