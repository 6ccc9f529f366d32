"""Limits of workers: what is handed on, how they are written, what is printed too fast."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import asdict

from kernel.config import DEFAULT_LIMITS, Config
from kernel.workers.limit import BURST_S, LEAST, Outflow, narrowed
from syscalls.errors import Invalid, PermissionDenied
from syscalls.worker_limits import WORDS, WorkerLimits, parse_limits, show_limit

FIELDS = tuple(field for field, _ in WORDS.values())


def limits() -> some.SearchStrategy[WorkerLimits]:
    return some.builds(WorkerLimits, **{field: some.none() | some.integers(0, 1 << 40) for field in FIELDS})


@given(limits())
def test_a_child_never_has_more_than_its_parent(asked: WorkerLimits) -> None:
    try:
        given_ = narrowed(DEFAULT_LIMITS, asked)
    except (PermissionDenied, Invalid):
        return
    for field in FIELDS:
        assert getattr(LEAST, field) <= getattr(given_, field) <= getattr(DEFAULT_LIMITS, field)
        assert getattr(asked, field) in (None, getattr(given_, field))


def test_who_asks_for_more_or_for_nearly_nothing_is_told() -> None:
    assert narrowed(DEFAULT_LIMITS, None) == DEFAULT_LIMITS
    with pytest.raises(PermissionDenied, match="memory: 2 GiB is more than the parent's, memory: 1 GiB"):
        narrowed(DEFAULT_LIMITS, WorkerLimits(memory_bytes=2 << 30))
    with pytest.raises(Invalid, match="files: 3 is too little to start: 16 files at least"):
        narrowed(DEFAULT_LIMITS, WorkerLimits(files=3))


def test_they_are_written_as_people_write_them() -> None:
    assert parse_limits("memory=256m, cpu=2m,output=1k") == WorkerLimits(
        memory_bytes=256 << 20, cpu_s=120, output_bytes_s=1024
    )
    for wrong, told in (("ram=1", "there are cpu, memory"), ("cpu=1d", "the units s, m, h"), ("files=k", "none")):
        with pytest.raises(ValueError, match=told):
            parse_limits(wrong)
    shown = [show_limit(*pair) for pair in asdict(DEFAULT_LIMITS).items()]
    assert shown == [
        "cpu: 3600 s", "memory: 1 GiB", "processes: 64", "files: 256", "file: 1 TiB", "disk: 32 GiB", "output: 1 MiB/s",
    ]  # fmt: skip


def test_kernos_toml_says_those_of_sessions() -> None:
    config = Config(limits=WorkerLimits(cpu_s=5))
    assert config.worker_limits == WorkerLimits(**{**asdict(DEFAULT_LIMITS), "cpu_s": 5})


def test_bursts_are_let_through_and_floods_are_not() -> None:
    flow = Outflow(rate=100)
    assert flow.take(int(100 * BURST_S), 1.0)
    assert not flow.take(1, 1.0)
    assert Outflow(rate=100).take(0, 0.0)
    steady = Outflow(rate=100)
    assert all(steady.take(100, at_s) for at_s in range(1, 1000))
