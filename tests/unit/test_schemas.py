"""The ABI as one JSON document: whole, resolvable, and true of the structs that it describes."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from syscalls.errors import Errno
from syscalls.jsonschema import REF
from syscalls.limits import ABI_VERSION
from syscalls.row import Row
from syscalls.schemas import FRAMES, document
from syscalls.signals import Signal
from syscalls.table import TABLE
from syscalls.wire import BlobRef, Call, Frame, encode


@pytest.fixture(scope="module")
def abi() -> dict[str, Any]:
    return document()


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from refs(each)
    elif isinstance(value, list):
        for each in value:
            yield from refs(each)


def test_it_is_json_and_every_reference_leads_somewhere(abi: dict[str, Any]) -> None:
    assert json.loads(json.dumps(abi)) == abi
    assert {ref.removeprefix(REF) for ref in refs(abi)} <= set(abi["$defs"])


def test_it_has_every_call_error_signal_and_frame(abi: dict[str, Any]) -> None:
    assert abi["abi"] == ABI_VERSION
    assert [call["number"] for call in abi["calls"]] == sorted(TABLE)
    assert set(abi["errors"]) == set(Errno.__members__)
    assert set(abi["signals"]) == set(Signal.__members__)
    assert set(FRAMES) == set(Frame.__args__)


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_the_fields_of_a_call_are_those_of_its_structs(row: Row, abi: dict[str, Any]) -> None:
    (call,) = [each for each in abi["calls"] if each["number"] == row.number]
    for kind, schema in ((row.args, call["args"]), (row.result, call["result"]), (row.item, call["item"])):
        assert (kind is None) == (schema is None)
        if kind is None:
            continue
        described = abi["$defs"][schema["$ref"].removeprefix(REF)]
        fields = msgspec.structs.fields(kind)
        assert set(described["properties"]) == {field.encode_name for field in fields}
        assert set(described["required"]) == {field.encode_name for field in fields if field.required}
    assert abi["$defs"][call["args"]["$ref"].removeprefix(REF)]["additionalProperties"] is False


def test_a_frame_is_an_array_in_the_order_of_its_fields(abi: dict[str, Any]) -> None:
    (layout,) = [each for each in abi["frames"] if each["name"] == "Call"]
    frame = Call(7, 1, 2, msgspec.Raw(b"\x80"), 3, b"k", BlobRef(4, 5, b"d"))
    kind, *values = msgspec.msgpack.decode(encode(frame)[4:])
    assert kind == layout["kind"]
    shown = dict(zip([field["name"] for field in layout["fields"]], values, strict=True))
    assert shown == {"id": 7, "channel": 1, "number": 2, "args": {}, "credit": 3, "key": b"k", "blob": [4, 5, b"d"]}


def test_limits_a_client_must_keep_are_there(abi: dict[str, Any]) -> None:
    assert abi["limits"]["frame_bytes_max"] == 65536
    assert abi["limits"]["stream_credit"] > 0


def test_members_of_a_union_say_which_they_are(abi: dict[str, Any]) -> None:
    text = abi["$defs"]["turns.Text"]
    assert text["properties"]["type"] == {"const": "text"}
    assert "type" in text["required"]
