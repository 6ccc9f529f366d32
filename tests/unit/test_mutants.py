"""The mutants fit the code: each names what is there exactly once, and a test that exists."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.__main__ import HERE, ROOT

MUTANTS = [m for file in sorted(HERE.glob("*.toml")) for m in tomllib.loads(file.read_text())["mutant"]]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant["name"]))
def test_a_mutant_fits_the_code(mutant: dict[str, Any]) -> None:
    assert (ROOT / mutant["file"]).read_text().count(mutant["old"]) == 1, "the code went on: the mutant must follow"
    assert mutant["old"] != mutant["new"] and mutant["why"]
    assert Path(ROOT, mutant["test"].partition("::")[0]).exists()


def test_names_are_used_once() -> None:
    assert len({mutant["name"] for mutant in MUTANTS}) == len(MUTANTS)
