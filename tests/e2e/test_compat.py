"""What clients of ABI 1 said, replayed against today's kernel: it answers as it did, with nothing taken away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import msgpack

from syscalls.jsonschema import REF
from tests.compat.sessions import CONFIG, END, ERROR, FOLDER, ITEMS, REPLY, Client, load, play
from tests.kernelproc import kernel_up
from tests.unit.test_compat import RECORDED

SCHEMAS = {call["name"]: call for call in RECORDED["calls"]}
NAMES = {str: "string", bytes: "bytes", bool: "boolean", int: "number", float: "number", list: "array", dict: "map"}


def outcome(frames: list[bytes]) -> tuple[int, Any, list[Any]]:
    """How a call ended (the kind of frame), with what (an errno, or a result), and its items."""
    items: list[Any] = []
    for body in frames:
        kind, *rest = msgpack.decode(body)
        if kind == ITEMS:
            items += rest[1]
    assert kind in (REPLY, ERROR, END)
    return kind, rest[1] if len(rest) > 1 else None, items


def differences(old: Any, new: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    """What a client that knows `schema` would find missing or of another type; more may be there."""
    if "$ref" in schema:
        schema = RECORDED["$defs"][schema["$ref"].removeprefix(REF)]
    if isinstance(old, dict) and isinstance(new, dict) and "properties" in schema:
        for key in schema["required"]:
            if key not in new:
                yield f"{where}.{key} is missing"
        for key in old.keys() & new.keys():
            yield from differences(old[key], new[key], schema["properties"].get(key, {}), f"{where}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and old and new:
        yield from differences(old[0], new[0], schema.get("items", {}), f"{where}[0]")
    elif None not in (old, new) and NAMES[type(old)] != NAMES[type(new)]:
        yield f"{where} is a {type(new).__name__}, was a {type(old).__name__}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.session")), ids=lambda path: path.stem)
def test_a_recorded_client_is_served_as_it_was(path: Path) -> None:
    recorded = load(path)
    with kernel_up(config=CONFIG) as up:
        client = Client(up.socket)
        try:
            assert msgpack.decode(client.hello)[:2] == [0, 1]
            answers = list(play(client, recorded))
        finally:
            client.close()
    for call, frames in zip(recorded, answers, strict=True):
        kind, result, items = outcome(call.frames)
        kind_now, result_now, items_now = outcome(frames)
        where = f"{path.stem}: {call.name}"
        assert kind_now == kind, f"{where} ended with {frames[-1]!r}, did with {call.frames[-1]!r}"
        if kind == ERROR:
            assert result_now == result, f"{where} is refused with {result_now}, was with {result}"
            continue
        schema = SCHEMAS[call.name]
        found = list(differences(result, result_now, schema["result"] or {}, where))
        assert bool(items) == bool(items_now), where
        if items and items_now:
            found += differences(items[0], items_now[0], schema["item"] or {}, f"{where} item")
        assert not found
