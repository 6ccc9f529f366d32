"""Signatures: a program's parameters are its command line."""

from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec import Struct

from syscalls.errors import Invalid
from userland.sdk.signature import bind, describe, help_text, parse_argv, usage, wants_help


class Size(Struct, frozen=True):
    width: int


async def everything(
    sys: Any,
    question: str,
    folder: Path,
    also: list[int],
    tries: int = 3,
    heat: float = 0.5,
    mode: Literal["fast", "slow"] = "fast",
    name: str | None = None,
    size: Size | None = None,
    *,
    quiet: bool = False,
    colour: bool = True,
) -> None:
    """Does everything.

    At length.
    """


async def several(sys: Any, first: str, *rest: int) -> None:
    """Takes many."""


def test_the_usage_line_shows_what_must_and_what_may_be_given() -> None:
    assert usage(describe(everything)) == (
        "usage: everything QUESTION FOLDER ALSO ... [TRIES] [HEAT] [MODE] [NAME] [SIZE] [--quiet] [--no-colour]"
    )


def test_words_become_typed_arguments() -> None:
    argv = ["why?", "/srv", "1", "2", "--tries", "5", "--heat=1.5", "--mode", "slow", "--quiet", "--no-colour"]
    args, kwargs = parse_argv(describe(everything), argv)
    assert args == []
    assert kwargs == {
        "question": "why?", "folder": "/srv", "also": [1, 2], "tries": 5, "heat": 1.5, "mode": "slow",
        "quiet": True, "colour": False,
    }  # fmt: skip


def test_bound_arguments_have_the_types_that_the_program_names() -> None:
    args, kwargs = bind(everything, (), {"question": "q", "folder": "/srv", "also": [1], "size": {"width": 2}})
    assert args[:3] == ["q", Path("/srv"), [1]]
    assert args[-1] == Size(2) or kwargs["size"] == Size(2)


def test_star_args_take_what_is_left() -> None:
    assert parse_argv(describe(several), ["a", "1", "2"]) == (["a", 1, 2], {})
    assert bind(several, ["a", 1, 2], {}) == (["a", 1, 2], {})


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "QUESTION is missing"),
        (["q"], "FOLDER is missing"),
        (["q", "/f", "x"], "--also: 'x' is no int"),
        (["q", "/f", "1", "--tries", "many"], "--tries: 'many' is no int"),
        (["q", "/f", "1", "--mode", "odd"], "--mode: 'odd' is not one of fast, slow"),
        (["q", "/f", "1", "--unknown"], "there is no option --unknown"),
        (["q", "/f", "1", "--tries"], "--tries needs a value"),
        (["q", "/f", "1", "--tries", "1", "--tries", "2"], "--tries is given twice"),
    ],
)
def test_misuse_is_answered_with_the_usage_and_the_reason(argv: list[str], says: str) -> None:
    with pytest.raises(Invalid, match=r"^EINVAL: usage: everything") as refused:
        parse_argv(describe(everything), argv)
    assert says in refused.value.message


def test_one_word_too_many_is_refused() -> None:
    async def single(sys: Any, only: str) -> None: ...

    with pytest.raises(Invalid, match="'b' is one argument too many"):
        parse_argv(describe(single), ["a", "b"])


def test_after_two_dashes_everything_is_a_word() -> None:
    _, kwargs = parse_argv(describe(several), ["--", "--first"])
    assert kwargs == {"first": "--first"}
    assert wants_help(["a", "--help"]) and not wants_help(["--", "--help"])


def test_data_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match="tries: Expected `int`, got `str`"):
        bind(everything, (), {"question": "q", "folder": "/f", "also": [], "tries": "three"})
    with pytest.raises(Invalid, match="unexpected keyword argument 'wrong'"):
        bind(several, ("a",), {"wrong": 1})


def test_help_has_the_docstring_and_every_parameter() -> None:
    text = help_text(describe(everything))
    assert "Does everything.\n\nAt length." in text
    assert "MODE, --mode             fast|slow [fast]" in text
    assert "QUESTION, --question     str required" in text


def test_a_program_that_takes_anything_has_no_command_line() -> None:
    async def loose(sys: Any, **anything: str) -> None: ...

    with pytest.raises(Invalid, match=r"\*\*anything"):
        describe(loose)
