"""Embeddings: the packaged weights loaded offline, the hashed words that need none, and origins that are no model."""

import json
import struct
from pathlib import Path

import pytest

import drivers.sentences.origin as origins
from drivers.loading import load
from syscalls.driver import Embed, Embedded, Open
from syscalls.errors import Invalid, NotFound
from syscalls.hooks import EmbeddingDevice

TEXTS = (
    "The cat sleeps on the warm stove.",
    "A kitten naps beside the heater.",
    "Interest rates rose by half a point.",
    "",
)


async def opened(origin: str, **options: str) -> EmbeddingDevice:
    device: EmbeddingDevice = await load("minilm").open(  # type: ignore[assignment]
        Open(kind="embedding", origin=origin, options=options)
    )
    return device


def rows_of(embedded: Embedded) -> list[tuple[float, ...]]:
    size = embedded.dimensions
    return [struct.unpack(f"<{size}f", part) for part in _parts(embedded.vectors, 4 * size)]


def _parts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def cosine(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_packaged_weights_know_meaning() -> None:
    pytest.importorskip("sentence_transformers")
    device = await opened("minilm", batch="2")
    whole = await device.embed(Embed(device=1, texts=TEXTS))
    cat, kitten, rates, empty = rows_of(whole)
    assert device.opened.dimensions == whole.dimensions == len(cat)
    assert [cosine(row, row) for row in (cat, kitten, rates, empty)] == pytest.approx([1.0] * 4, abs=1e-5)
    assert cosine(cat, kitten) > cosine(cat, rates) + 0.2
    again = await device.embed(Embed(device=1, texts=TEXTS[2:3]))
    assert cosine(rows_of(again)[0], rates) == pytest.approx(1.0, abs=1e-5)
    assert again.tokens < whole.tokens
    assert (await device.embed(Embed(device=1, texts=()))).vectors == b""
    await device.close()


async def test_hashed_words_find_shared_words_and_say_what_they_are() -> None:
    device = await opened("hash")
    made = await device.embed(Embed(device=1, texts=("the pager evicts pages", "a page was evicted", "blue whales")))
    pager, page, whales = rows_of(made)
    assert [cosine(row, row) for row in (pager, page, whales)] == pytest.approx([1.0] * 3, abs=1e-5)
    assert cosine(pager, page) > cosine(pager, whales)
    assert made == await device.embed(
        Embed(device=1, texts=("the pager evicts pages", "a page was evicted", "blue whales"))
    )
    assert made.tokens == 10
    assert "no model" in device.opened.detail["architecture"]


async def test_hashed_words_give_a_unit_vector_for_any_text() -> None:
    device = await opened("hash")
    for row in rows_of(await device.embed(Embed(device=1, texts=("", "!?", "\x00", "ä" * 9999, "a a a a")))):
        assert cosine(row, row) == pytest.approx(1.0, abs=1e-5)


async def test_an_origin_that_is_no_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "empty").mkdir()
    (tmp_path / "weightless").mkdir()
    (tmp_path / "weightless" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "torn" / "model.safetensors").write_bytes(struct.pack("<Q", 900) + b"{")
    for name, kind, said in (
        ("nowhere", NotFound, "no model folder"),
        ("empty", NotFound, "config.json"),
        ("weightless", NotFound, "no weights"),
        ("torn", Invalid, "truncated"),
    ):
        with pytest.raises(kind, match=said):
            await opened(str(tmp_path / name))


async def test_a_missing_extra_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "find_spec", lambda name: None)
    with pytest.raises(NotFound, match=r"needs torch.*pip install 'kernos\[embedding\]'"):
        await opened("minilm")


@pytest.mark.parametrize(("options", "said"), [({"batch": "0"}, "between 1 and"), ({"speed": "1"}, "speed")])
async def test_bad_options_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        await opened("hash", **options)
