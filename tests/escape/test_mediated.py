"""Programs that lie to their supervisor or race it, and all the others in the tier `files`: none goes through.

Each is tried as a plain process first, where it must go through. That the supervisor is what refuses them is shown by
the mutants of `tests/mutants/mediation.toml`, which break one thing that it does.
"""

import pkgutil
import platform
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

import pytest
import trio

from tests.escape import mediated, programs
from tests.escape.stage import open_stage, renew
from tests.escape.supervised import supervised, supervisors
from tests.escape.test_corpus import free, zygote

NAMES = sorted(module.name for module in pkgutil.iter_modules(mediated.__path__))
OTHERS = sorted(module.name for module in pkgutil.iter_modules(programs.__path__))
THIS_TIERS_OWN = {"thread", "dump_core"}
"""The tier has threads; and its limit of cores is 1, with which none is written, not even to a program of the host."""

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the corpus speaks the numbers of x86-64")


class Results(NamedTuple):
    """By program, whether it went through: as a plain process, and supervised."""

    free: dict[str, bool]
    supervised: dict[str, bool]
    deeds: dict[str, int]


def went(package: str, name: str, stage: dict[str, Any], answer: dict[str, Any]) -> bool:
    program = import_module(f"tests.escape.{package}.{name}")
    return "value" in answer and bool(answer["value"] == program.proof(stage))


def rights(stage: dict[str, Any]) -> tuple[str, ...]:
    ports = (f"net:tcp:127.0.0.1:{stage[port]} connect,private" for port in ("tcp_given", "tcp_closed"))
    return (f"file:{stage['inside']}/** read,write", *ports)


@pytest.fixture(scope="module")
def results() -> Iterator[Results]:
    with open_stage() as stage:
        through = {name: went("mediated", name, stage, free(name, stage, package="mediated")) for name in NAMES}
        yield trio.run(_all, stage, through)


async def _all(stage: dict[str, Any], through: dict[str, bool]) -> Results:
    results = Results(through, {}, {})
    async with zygote() as maker, supervisors() as host:
        for name in NAMES:
            renew(stage)
            answer, deeds = await supervised(maker, host, name, stage, rights(stage), package="mediated")
            results.supervised[name] = went("mediated", name, stage, answer)
            results.deeds[name] = deeds
    return results


@pytest.mark.parametrize("name", NAMES)
def test_the_supervisor_refuses_it(name: str, results: Results) -> None:
    if not results.free[name]:
        pytest.skip("inert: on this machine it does not go through unconfined either, and proves nothing")
    assert not results.supervised[name]


def test_those_that_race_do_race(results: Results) -> None:
    assert all(results.deeds[name] > 500 for name in NAMES if name.startswith("race_")), results.deeds


def test_most_of_it_is_not_inert_and_says_what_it_tries(results: Results) -> None:
    assert sum(results.free.values()) >= len(NAMES) - 1, results.free
    assert all(import_module(f"tests.escape.mediated.{name}").__doc__ for name in NAMES)


def test_the_whole_corpus_is_refused_in_this_tier_too() -> None:
    with open_stage() as stage:
        through = trio.run(_corpus, stage)
    assert not through


async def _corpus(stage: dict[str, Any]) -> list[str]:
    through = []
    granted = (f"file:{stage['inside']}/** read",)
    async with zygote() as maker, supervisors() as host:
        for name in OTHERS:
            renew(stage)
            answer, _ = await supervised(maker, host, name, stage, granted, package="programs")
            if name not in THIS_TIERS_OWN and went("programs", name, stage, answer):
                through.append(name)
    return through
