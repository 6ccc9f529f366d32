"""Tables: widths, cuts, hostile text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userland.cli.table import CUT, Column, cell_width, clean, cut, render
from userland.cli.values import bytes_count, clock_time, count, of_total

COLUMNS = (Column("N", lambda row: str(row[0]), right=True), Column("NAME", lambda row: row[1]))


def test_columns_are_as_wide_as_their_content() -> None:
    assert render(COLUMNS, [(7, "a"), (1234, "long name")]) == [
        "   N  NAME",
        "   7  a",
        "1234  long name",
    ]


def test_without_rows_there_is_the_header() -> None:
    assert render(COLUMNS, []) == ["N  NAME"]


def test_wide_characters_take_two_cells() -> None:
    assert cell_width("日本") == 4
    assert render(COLUMNS, [(1, "日本語の名前")], width=10) == ["N  NAME", f"1  日本語{CUT}"]


@given(st.lists(st.tuples(st.integers(), st.text(max_size=40)), max_size=5), st.integers(1, 60))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[int, str]], width: int) -> None:
    for line in render(COLUMNS, rows, width=width):
        assert cell_width(line) <= width
        assert line.isprintable()


@given(st.text(), st.integers(0, 40))
def test_cut_fits_and_keeps_the_beginning(text: str, width: int) -> None:
    short = cut(clean(text), width)
    assert cell_width(short) <= width
    assert clean(text).startswith(short.removesuffix(CUT))


def test_escape_sequences_of_a_name_do_not_reach_the_terminal() -> None:
    assert clean("\x1b[2Jroot\n") == "?[2Jroot?"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.9, "0:00"), (67, "1:07"), (3600, "1:00:00"), (2 * 86400 + 61, "2d 0:01:01")]
)
def test_clock_time(seconds: float, shown: str) -> None:
    assert clock_time(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (9999, "9999"), (12_345, "12k"), (1_200_000, "1.2M"), (7 * 10**9, "7.0B")]
)
def test_count(number: int, shown: str) -> None:
    assert count(number) == shown


def test_of_total_and_bytes() -> None:
    assert [of_total(3, 10), of_total(3, None), of_total(0, 0), of_total(0, 10)] == ["3/10", "3", "-", "0/10"]
    assert [bytes_count(512), bytes_count(1536), bytes_count(5 << 30)] == ["512 B", "1.5 KiB", "5.0 GiB"]
