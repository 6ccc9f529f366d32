"""Documents: what is read of a folder, what is skipped and why, and that splitting loses no word."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userland.documents import (
    FILE_BYTES_MAX,
    PASSAGE_CHARS_MAX,
    PASSAGE_CHARS_MIN,
    Document,
    Skipped,
    check_folder,
    read_folder,
    split,
)
from userland.reflow import reflowed


def test_a_folder_is_read_and_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Alpha. " * 100)
    (tmp_path / "b.bin").write_bytes(b"\0\1\2")
    (tmp_path / "c.txt").write_bytes("Grüße".encode("latin-1"))
    with (tmp_path / "d.txt").open("wb") as huge:
        huge.truncate(FILE_BYTES_MAX + 1)
    (tmp_path / "e.txt").write_text("  \n")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f.txt").write_text("\ufeffshort", encoding="utf-8")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.md")
    found = list(read_folder(tmp_path))
    assert [str(item) for item in found if isinstance(item, Skipped)] == [
        "skipped b.bin: binary, not text: convert it, or install a package that parses it",
        "skipped c.txt: not UTF-8 at byte 2: convert it, as in 'iconv -t UTF-8'",
        "skipped d.txt: 10.0 MB, more than 10 MB: split it",
        "skipped e.txt: empty",
    ]
    read = [item for item in found if isinstance(item, Document)]
    assert [item.name for item in read] == ["a.md", "sub/f.txt"]
    assert read[1].passages[0].text == "short" and read[1].passages[0].source == "sub/f.txt#1"


def test_one_file_is_a_folder_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Alpha.")
    (only,) = read_folder(tmp_path / "a.md")
    assert isinstance(only, Document) and only.name == "a.md"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_folder(tmp_path / "gone")


@given(st.text(alphabet=st.sampled_from("ab .\n\r!é"), max_size=5000))
def test_splitting_keeps_every_word_in_order_and_every_bound(text: str) -> None:
    pieces = list(split(text))
    assert "".join(" ".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= PASSAGE_CHARS_MAX for piece in pieces)


@given(st.text(alphabet=st.sampled_from("ab .\n\r!é-*|"), max_size=5000))
def test_joining_lines_keeps_every_word_and_every_bound(text: str) -> None:
    pieces = list(split(text, prose=True))
    assert "".join(" ".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= PASSAGE_CHARS_MAX for piece in pieces)


@pytest.mark.parametrize(
    "kept",
    [
        "| a long row of a table that goes on | and on |\n| another row |",
        "    value = long_name_of_a_function(with_an_argument, more)\n    print(value)",
        ">>> a_long_line_of_an_example_that_is_as_long_as_prose\nits result",
        "Short lines of a poem\nare not joined to one",
        "A heading that is as long as a line of prose would be\n-----------------------------------------------------",
    ],
)
def test_what_is_no_wrapped_prose_stays(kept: str) -> None:
    assert reflowed(kept) == kept


def test_wrapped_prose_is_one_line_and_so_is_each_item() -> None:
    wrapped = (
        "A paragraph that somebody has wrapped at so many\ncharacters, with a `word` and (a\nremark) at its ends.\n"
        "* one item of a list that goes on for more than a\n  line, and\n* two"
    )
    assert reflowed(wrapped) == (
        "A paragraph that somebody has wrapped at so many characters, with a `word` and (a\nremark) at its ends.\n"
        "* one item of a list that goes on for more than a line, and\n* two"
    )


def test_lines_are_joined_in_prose_alone(tmp_path: Path) -> None:
    text = "These are the words of a sentence that was wrapped\nby somebody, and ends here."
    for name in ("a.md", "b.csv", "c"):
        (tmp_path / name).write_text(text)
    joined, kept, plain = (item.passages[0].text for item in read_folder(tmp_path) if isinstance(item, Document))
    assert joined == plain == text.replace("\n", " ") and kept == text


def test_prose_is_cut_at_paragraphs_and_sentences() -> None:
    paragraph = "A sentence of words that says something or other. " * 10
    pieces = list(split("\n\n".join([paragraph.strip()] * 4)))
    assert all(piece.endswith(".") for piece in pieces)
    assert all(len(piece) >= PASSAGE_CHARS_MIN for piece in pieces)
