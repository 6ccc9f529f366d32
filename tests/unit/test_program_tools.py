"""The shipped tools: arithmetic that is nothing but arithmetic, and a glossary that knows its own machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syscalls.errors import Invalid, NotFound
from syscalls.table import TABLE
from userland.programs.calculator import calculate
from userland.programs.glossary import lookup


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("58 + 27", "85"), ("250 / 8", "31.25"), ("1 / 3", "0.333333"), ("-(2 + 3) * 4", "-20"), ("2 ** 10", "1024"),
        ("7 // 2 + 7 % 2", "4"), (" 1.5 * 2 ", "3"), ("2 ** -1", "0.5"),
    ],
)  # fmt: skip
def test_arithmetic(expression: str, result: str) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(
    "expression",
    ["__import__('os')", "open", "a + 1", "'a' * 9", "True + 1", "[1]", "1 if 1 else 2", "", "1 +", "(1).__class__",
     "9 ** 9 ** 9", "10 ** 500", "1 / 0", "1e308 * 10", "(-8) ** 0.5", "1" * 501, "(" * 400, "1 << 90"],
)  # fmt: skip
def test_everything_else_is_refused(expression: str) -> None:
    with pytest.raises(Invalid):
        calculate(expression)


@given(st.text(max_size=60))
def test_no_text_does_anything_but_be_worked_out_or_refused(expression: str) -> None:
    try:
        assert isinstance(calculate(expression), str)
    except Invalid:
        pass


def test_the_glossary_knows_words_calls_and_errors() -> None:
    assert lookup("page fault").startswith("fault, page fault: a page that is needed")
    assert lookup("The Window?").startswith("window: the resident pages")
    assert lookup("EAGAIN") == "EAGAIN: the kernel or a device cannot take this now; nothing was done"
    assert all(lookup(row.name).startswith(f"{row.name}: ") for row in TABLE.values())


def test_what_is_not_in_the_glossary_is_not_found() -> None:
    with pytest.raises(NotFound, match="no entry for antimatter"):
        lookup("antimatter")


def test_every_definition_is_one_short_line() -> None:
    assert all(len(lookup(row.name)) < 200 for row in TABLE.values())
