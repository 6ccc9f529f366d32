"""Every hostile program goes through unconfined, is refused in the jail, and by each layer it names alone.

A layer that silently does nothing is found out: of the layers that refuse a program all but one are taken away, and
that one must still refuse it; with all of them away it must go through again.

`make escape` runs this as an ordinary user too. What only root gets through unconfined is marked NEEDS_ROOT: there it
must be refused all the same, and proves nothing of a layer. `ESCAPE_ONLY` names the programs to be tried, with commas.
"""

import json
import os
import pkgutil
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import trio

from sandbox.interpreter import guest_binds, guest_path
from sandbox.spec import FOUNDATIONS, LAYERS, Bind, WorkerSpec, ZygoteSpec
from sandbox.worker import reap
from sandbox.zygote import Zygote
from tests.escape import programs
from tests.escape.stage import open_stage, renew

ROOT = Path(__file__).parents[2]
ALL = sorted(module.name for module in pkgutil.iter_modules(programs.__path__))
ONLY = frozenset(filter(None, os.environ.get("ESCAPE_ONLY", "").split(",")))
NAMES = [name for name in ALL if name in ONLY] or ALL
ROOT_HERE = os.geteuid() == 0
PATIENCE_S = 30
PRELOAD = (
    "json", "socket", "encodings.idna", "threading", "mmap", "resource", "fcntl", "platform", "ctypes", "pathlib",
    "tests.escape.guest",
)  # fmt: skip
"""What the programs import: where the layer `root` is left out, the library of the host may be out of reach."""
LAST_RESORTS = FOUNDATIONS | {"cgroup", "privileges", "death"} | (set() if ROOT_HERE else {"capabilities"})
"""Layers that no program can be kept out by alone: the first carry the others; there may be no cgroup to hide; behind a
user namespace no program gains anything by executing another; that workers die with the kernel has its own tests; who
has no capabilities cannot show what it is to lose them."""

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the corpus speaks the numbers of x86-64")


class Results(NamedTuple):
    """By program: whether it went through as a plain process, in the jail, without all the layers it names, and for
    each of these whether it went through with that one left."""

    stage: dict[str, Any]
    free: dict[str, bool]
    jailed: dict[str, bool]
    bare: dict[str, bool]
    alone: dict[str, dict[str, bool]]


def program(name: str) -> ModuleType:
    return import_module(f"tests.escape.programs.{name}")


def removable(name: str) -> frozenset[str]:
    """The layers that refuse `name`, or none where one of them cannot be taken away and hides the others."""
    named = frozenset(program(name).REFUSED_BY)
    return frozenset() if named & FOUNDATIONS else named


def beyond_us(name: str) -> bool:
    """Whether root alone could get it through unconfined, and this is not root."""
    return not ROOT_HERE and getattr(program(name), "NEEDS_ROOT", False)


def went_through(name: str, stage: dict[str, Any], answer: dict[str, Any]) -> bool:
    return "value" in answer and bool(answer["value"] == program(name).proof(stage))


def free(name: str, stage: dict[str, Any], package: str = "programs") -> dict[str, Any]:
    """The attempt of a plain process of this user."""
    renew(stage)
    command = [sys.executable, "-m", "tests.escape.guest", name, json.dumps(stage), package]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=PATIENCE_S, check=False)
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"refused": f"died of {done.returncode}"}
    return answer


@asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    binds = (*guest_binds(), Bind(str(ROOT / "tests" / "escape"), str(ROOT / "tests" / "escape")))
    path = (str(ROOT), *guest_path())
    started = await Zygote.start(ZygoteSpec(python=sys.executable, path=path, preload=PRELOAD, binds=binds))
    try:
        yield started
    finally:
        await started.aclose()


async def jailed(maker: Zygote, name: str, stage: dict[str, Any], *, without: frozenset[str]) -> dict[str, Any]:
    """The attempt of a worker that lacks the layers in `without`; {} if it died without a word."""
    renew(stage)
    spec = WorkerSpec(
        entry="tests.escape.guest:main",
        payload=json.dumps({"name": name, "stage": stage}).encode(),
        binds=(Bind(stage["inside"], stage["inside"]),),
        without=tuple(sorted(without)),
    )
    worker = await maker.spawn(spec)
    data = b""
    async with trio.SocketStream(trio.socket.from_stdlib_socket(worker.sock)) as stream:
        with trio.move_on_after(PATIENCE_S):
            try:
                async for piece in stream:
                    data += piece
            except trio.BrokenResourceError:
                pass
    os.kill(worker.pid, 9)
    await reap(worker)
    os.close(worker.output)
    answer: dict[str, Any] = json.loads(data) if data else {}
    return answer


@pytest.fixture(scope="module")
def results() -> Iterator[Results]:
    with open_stage() as stage:
        free_ones = {name: went_through(name, stage, free(name, stage)) for name in NAMES}
        yield trio.run(_all_in_jails, stage, free_ones)


async def _all_in_jails(stage: dict[str, Any], free_ones: dict[str, bool]) -> Results:
    results = Results(stage, free_ones, {}, {}, {})
    async with zygote() as maker:

        async def tries(name: str, without: frozenset[str]) -> bool:
            return went_through(name, stage, await jailed(maker, name, stage, without=without))

        for name in NAMES:
            named = removable(name)
            results.jailed[name] = await tries(name, frozenset())
            if named and free_ones[name]:
                results.bare[name] = await tries(name, named)
                results.alone[name] = {layer: await tries(name, named - {layer}) for layer in sorted(named)}
    return results


@pytest.mark.parametrize("name", NAMES)
def test_the_jail_refuses_it(name: str, results: Results) -> None:
    if not results.free[name] and not beyond_us(name):
        pytest.skip("inert: on this machine it does not go through unconfined either, and proves nothing")
    assert not results.jailed[name]


@pytest.mark.parametrize("name", [name for name in NAMES if removable(name)])
def test_each_layer_it_names_refuses_it_alone(name: str, results: Results) -> None:
    if not results.free[name]:
        pytest.skip("inert on this machine")
    assert results.bare[name], "with every layer that it names taken away, another one must have stopped it"
    let_through = [layer for layer, through in results.alone[name].items() if through]
    assert not let_through, f"these layers let it through: {let_through}"


def test_what_is_said_to_need_root_does(results: Results) -> None:
    assert not [name for name in NAMES if beyond_us(name) and results.free[name]]


@pytest.mark.skipif(bool(ONLY), reason="a few programs only")
def test_every_layer_is_shown_to_work_by_three_programs_or_more(results: Results) -> None:
    shown = Counter(layer for name in results.alone for layer in results.alone[name])
    assert all(shown[layer] >= 3 for layer in set(LAYERS) - LAST_RESORTS), shown


def test_the_corpus_is_large_and_says_what_it_tries() -> None:
    assert len(ALL) >= 60
    for name in ALL:
        assert program(name).__doc__ and set(program(name).REFUSED_BY) <= set(LAYERS), name


def test_most_of_it_is_not_inert(results: Results) -> None:
    ours = [name for name in NAMES if not beyond_us(name)]
    assert sum(results.free.values()) >= 0.9 * len(ours), [name for name in ours if not results.free[name]]
