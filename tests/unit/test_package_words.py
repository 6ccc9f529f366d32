"""Rights in words: every right has a sentence, and none sounds better than it is."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syscalls.known_rights import check_right
from syscalls.package import Ask, read_manifest
from syscalls.rights import Right
from syscalls.table import TABLE
from userland.pkg.build import manifest_of, read_project
from userland.pkg.words import Danger, danger, sentences, told, words

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("right", "sentence", "how_bad"),
    [
        ("**", "do everything that you can", Danger.HARM),
        ("file:/srv/docs/** read", "read all that lies in /srv/docs", Danger.SIGHT),
        ("file:/srv/docs/**", "read, create, change and delete all that lies in /srv/docs", Danger.HARM),
        (
            "file:~/** read,write",
            "read, create, change and delete files in a folder that kernos keeps",
            Danger.ORDINARY,
        ),
        ("model:* generate", "let any model write", Danger.ORDINARY),
        ("net:https://example.com/** get", "fetch pages from example.com", Danger.SIGHT),
        ("net:https://*.example.com/** get,post", "send data to *.example.com", Danger.HARM),
        ("net:https://example.com/** *", "machines of your own network among them", Danger.HARM),
        ("process:* kill", "end any process", Danger.HARM),
        ("process:children kill,wait", "end what it started", Danger.ORDINARY),
        ("context:own", "use its own conversations in every way", Danger.ORDINARY),
        ("context:diary read", "read the conversation diary", Danger.SIGHT),
        ("kernel:power shutdown", "stop the kernel", Danger.HARM),
        ("account:ann limit", "change the limits of the account ann", Danger.HARM),
        ("tool:calculator.* call", "use the tool calculator", Danger.ORDINARY),
    ],
)
def test_a_right_in_words(right: str, sentence: str, how_bad: Danger) -> None:
    parsed = Right.parse(right)
    assert sentence in words(parsed) and danger(parsed) is how_bad


@given(st.sampled_from(sorted({row.needs.resource.partition(":")[0] for row in TABLE.values() if row.needs})))
def test_a_wider_right_is_no_less_dangerous(kind: str) -> None:
    rest = "https://x/**" if kind == "net" else "/x" if kind == "file" else "x"
    narrow, wide = Right(f"{kind}:{rest}", ("read",)), Right(f"{kind}:{rest}")
    assert danger(wide) <= danger(narrow), "the worst is the smallest"
    assert danger(Right("**")) <= danger(wide) and words(wide) and words(narrow)


def test_the_worst_comes_first_with_its_reason() -> None:
    asks = tuple((Ask(right=text, why=f"for {text}"), Right.parse(text)) for text in ("model:*", "file:/x write"))
    lines = told(sentences(asks))
    assert lines[0].strip().startswith("could do harm")
    assert lines.index("      because: for file:/x write") < lines.index("      because: for model:*")


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"{}", "missing required field `name`"),
        (b'{"name": "A", "version": "1"}', "is no package name"),
        (b'{"name": "a", "version": "1", "abi": 0}', "it is 1 or more"),
        (b'{"name": "a", "version": "1", "programs": {"x": "os.system(1)"}}', "write MODULE:NAME"),
        (b'{"name": "a", "version": "1", "programs": {"X": "m:x"}}', "is no name"),
        (b'{"name": "a", "version": "1", "rights": [{"right": "model:x", "why": ""}]}', "say why"),
        (b'{"name": "a", "version": "1", "limits": {"tokens": 0}}', "above 0"),
        (b'{"name": "a", "version": "1", "lock": [{"name": "b", "version": "1", "sha256": []}]}', "at least one"),
        (b"[" * 5000, "nested"),
    ],
)
def test_a_manifest_that_makes_no_sense_says_why(manifest: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_manifest(manifest)
    assert why in str(refused.value) or why == "nested"


def test_the_manifest_of_the_page_makes_sense(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "packages.md").read_text(), flags=re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(block)
    manifest = manifest_of(read_project(tmp_path), "finder", "1.0", ())
    assert manifest.tools == {"finder": "finder:*"} and manifest.blanks == ("folder",) and manifest.tier == "threads"


def test_every_right_that_a_call_needs_can_be_asked_for() -> None:
    for row in TABLE.values():
        for needs in (row.needs, row.also):
            if needs is not None and "{" not in needs.resource:
                check_right(f"{needs.resource} {needs.action}" if "{" not in needs.action else needs.resource)
