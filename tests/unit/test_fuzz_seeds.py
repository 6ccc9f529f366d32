"""The seeds of fuzzing begin inside: each row has one that fits it, so what is mutated is arguments and not noise."""

from pathlib import Path

import pytest
from msgspec import Raw, msgpack

from syscalls.codec import parse_args
from syscalls.row import Row
from tests.fuzz.seeds import ROWS, SYSCALLS, sample, step, steps, write_seeds


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_seed_fits_its_row(row: Row) -> None:
    parse_args(row, Raw(msgpack.encode(sample(row.args))))


def test_there_is_a_seed_for_each_row_and_each_frame(tmp_path: Path) -> None:
    for target, least in (("peer", 9), ("args", len(ROWS)), ("gate", len(SYSCALLS))):
        write_seeds(target, tmp_path / target)
        assert len(list((tmp_path / target).iterdir())) >= least


def test_steps_are_read_as_they_are_written() -> None:
    assert list(steps(step(3, b"abc") + step(255, b""))) == [(3, b"abc"), (255, b"")]
    assert list(steps(step(3, b"abc")[:-1])) == [(3, b"ab")]
    assert list(steps(b"\x01")) == []
