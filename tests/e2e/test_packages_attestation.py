"""Attestations through the real command line: what lies beside a wheel, what an index gives, and without the extra."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attestations import attestation
from tests.commandline import CommandLine
from tests.packages import left, wheel
from userland.pkg import proof
from userland.pkg.wheel import digest_of

WITHOUT = "import sys\n\nsys.modules['sigstore'] = sys.modules['pypi_attestations'] = None\n"
HELD = "https://github.com/ann/finder/.github/workflows/release.yml"
needs_sigstore = pytest.mark.skipif(not proof.available(), reason=f"needs {proof.EXTRA}")


def attest(place: Path) -> bytes:
    """The provenance of a wheel, as an index has it, and an attestation beside it."""
    told = attestation(name=place.name, sha256=digest_of(place))
    place.with_name(f"{place.name}.publish.attestation").write_text(json.dumps(told))
    return json.dumps({"version": 1, "attestation_bundles": [{"publisher": {}, "attestations": [told]}]}).encode()


@needs_sigstore
def test_one_that_sigstore_does_not_know_is_refused_in_one_line(kernos: CommandLine) -> None:
    place = wheel(kernos.home)
    attest(place)
    for words in (("verify", place), ("install", "--unsigned", "--yes", place)):
        refused = kernos("pkg", *words)
        assert refused.returncode == 4 and refused.stderr.count("\n") == 1, refused.stderr
        assert "words-1.0-py3-none-any.whl.publish.attestation does not hold before Sigstore: " in refused.stderr
    assert left(kernos) == []


def test_without_the_extra_it_is_a_claim_that_decides_nothing(kernos: CommandLine) -> None:
    (kernos.home / "without").mkdir()
    (kernos.home / "without" / "sitecustomize.py").write_text(WITHOUT)
    kernos.environ["PYTHONPATH"] = str(kernos.home / "without")
    place = wheel(kernos.home)
    attest(place)
    told = kernos("pkg", "verify", place).stdout
    assert f"published by {HELD}, its attestation claims; to check that: pip install 'kernos[attest]'" in told
    refused = kernos("pkg", "install", "--yes", place)
    assert refused.returncode == 4 and "is not signed, nobody answers for it" in refused.stderr
    assert kernos("pkg", "install", "--unsigned", "--yes", place).returncode == 0
    assert kernos.json("pkg", "show", "words").get("publisher", "") == ""
    assert "published" not in kernos("pkg", "show", "words").stdout


def test_another_publisher_than_before_stops_and_shows_the_difference(kernos: CommandLine) -> None:
    asked = [{"right": "model:*", "why": "to think"}]
    assert (
        kernos("pkg", "install", "--unsigned", "--yes", wheel(kernos.home, manifest={"rights": asked})).returncode == 0
    )
    record = kernos.home / "state" / "kernos" / "packages" / "words" / "package.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps({**told, "publisher": HELD}))  # as if Sigstore had known it
    assert f"published by {HELD}, and in Sigstore's log" in kernos("pkg", "show", "words").stdout
    assert HELD in kernos("pkg", "audit", "-o", "wide").stdout
    assert HELD in kernos("pkg", "list", "-o", "wide").stdout
    later = wheel(kernos.home, version="1.1", manifest={"rights": asked})
    stopped = kernos("pkg", "upgrade", "--unsigned", later)
    assert stopped.returncode == 4 and stopped.stderr == (
        f"kernos: words was published by {HELD}; this wheel has no attestation that says by whom: "
        "if you know why, say --new-publisher\n"
    )
    assert kernos("pkg", "upgrade", "--unsigned", "--new-publisher", later).returncode == 0
    assert kernos.json("pkg", "show", "words").get("publisher", "") == ""
    assert kernos("pkg", "rollback", "words").returncode == 0
    assert kernos.json("pkg", "show", "words")["manifest"]["version"] == "1.0"


def test_what_a_revoked_publisher_published_does_not_come_back(kernos: CommandLine) -> None:
    first, later = wheel(kernos.home), wheel(kernos.home, version="1.1")
    assert kernos("pkg", "install", "--unsigned", "--yes", first).returncode == 0
    records = list((kernos.home / "state" / "kernos" / "packages" / "words").rglob("package.json"))
    for record in records:  # as if Sigstore had known it
        record.write_text(json.dumps({**json.loads(record.read_text()), "publisher": HELD}))
    assert len(records) == 2
    assert kernos("pkg", "upgrade", "--unsigned", "--new-publisher", later).returncode == 0
    revoked = kernos("pkg", "publisher", "revoke", "github.com/ann/finder", "--why", "taken over")
    assert revoked.returncode == 0, revoked.stderr
    refused = kernos("pkg", "rollback", "words")
    assert refused.returncode == 4 and "was revoked, as 'github.com/ann/finder' (taken over)" in refused.stderr
    shown = kernos("pkg", "publisher", "list", "-o", "json").stdout
    assert json.loads(shown)[0]["state"] == "revoked"
    assert kernos("pkg", "publisher", "forget", "github.com/ann/finder").returncode == 0
    assert kernos("pkg", "rollback", "words").returncode == 0
    assert HELD in kernos("pkg", "publisher", "list").stdout


@pytest.fixture
def index(kernos: CommandLine) -> Iterator[Path]:
    """A package index of one folder, which attests what `attest` makes; asked by pip."""
    folder = kernos.home / "served"
    folder.mkdir()

    class Simple(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = folder / self.path.rpartition("/")[2]
            if self.path == "/simple/words/":
                body, kind = json.dumps(_page(folder)).encode(), "application/vnd.pypi.simple.v1+json"
            elif path.is_file():
                body, kind = path.read_bytes(), "application/octet-stream"
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Simple)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    kernos.environ["PIP_INDEX_URL"] = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield folder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _page(folder: Path) -> dict[str, object]:
    files = [
        {
            "filename": path.name,
            "url": f"/files/{path.name}",
            "hashes": {"sha256": digest_of(path)},
            "provenance": f"/integrity/{path.name}.json",
        }
        for path in folder.glob("*.whl")
    ]
    return {"meta": {"api-version": "1.3"}, "name": "words", "files": files}


@needs_sigstore
def test_what_the_index_attests_is_fetched_and_checked(kernos: CommandLine, index: Path) -> None:
    place = wheel(index)
    (index / f"{place.name}.json").write_bytes(attest(place))
    place.with_name(f"{place.name}.publish.attestation").unlink()
    refused = kernos("pkg", "install", "--unsigned", "--yes", "words")
    assert refused.returncode == 4, refused.stderr
    assert "words-1.0-py3-none-any.whl.provenance does not hold before Sigstore: " in refused.stderr
    (index / f"{place.name}.json").unlink()
    done = kernos("pkg", "install", "--unsigned", "--yes", "words")
    assert done.returncode == 0 and "published" not in done.stderr, done.stderr
