"""ABI 1 grows and never changes: what was recorded of the table is still true of it."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import Raw, msgpack

from syscalls.codec import parse_answer
from syscalls.errors import Errno
from syscalls.schemas import document
from syscalls.table import BY_NAME, TABLE
from syscalls.wire import End as WireEnd
from syscalls.wire import Error, Items, Reply, decode
from tests.compat.record import SCHEMA, joined
from tests.compat.sessions import CALL, FOLDER, Heard, load

RECORDED = json.loads(SCHEMA.read_text())
TODAY = document()
PROSE = frozenset({"doc", "description", "title", "waits", "cancelled", "costs", "meaning", "errors", "flags", "right"})
"""May be said better; flags, but for STREAM, and rights are the kernel's own business."""


def changes(old: Any, new: Any, where: str) -> Iterator[str]:
    """What a client of `old` would miss in `new`."""
    if isinstance(old, dict):
        if not isinstance(new, dict):
            yield f"{where} is {new!r}, was {old!r}"
            return
        for key, value in old.items():
            if key == "required" or (key in PROSE and not where.endswith(".properties")):
                continue
            if where.endswith(".reserved") and BY_NAME.get(value) is TABLE.get(int(key, 16)):
                continue  # what was promised has come
            if key not in new:
                yield f"{where}.{key} is gone"
            else:
                yield from changes(value, new[key], f"{where}.{key}")
        if "required" in old and isinstance(old["required"], list):
            extra = set(new.get("required", ())) - set(old["required"])
            if extra:
                yield f"{where} now needs {sorted(extra)}"
    elif isinstance(old, list) and all(isinstance(each, dict) and "name" in each for each in old):
        by_name = {each["name"]: each for each in new}
        for each in old:
            if each["name"] not in by_name:
                yield f"{where}: {each['name']} is gone"
            else:
                yield from changes(each, by_name[each["name"]], f"{where}.{each['name']}")
    elif isinstance(old, list) and where.endswith((".enum", ".anyOf")):
        missing = [each for each in old if each not in new]
        if missing:
            yield f"{where}: {missing} is gone"
    elif old != new:
        yield f"{where} is {new!r}, was {old!r}"


@pytest.mark.parametrize("part", ["calls", "frames", "signals", "$defs", "abi"])
def test_nothing_of_abi_1_has_changed(part: str) -> None:
    found = list(changes(RECORDED[part], TODAY[part], part))
    assert not found, "clients of ABI 1 would break: " + "; ".join(found)


def test_errors_keep_their_numbers() -> None:
    assert {name: each["number"] for name, each in RECORDED["errors"].items()}.items() <= {
        errno.name: int(errno) for errno in Errno
    }.items()


def test_limits_are_not_tightened() -> None:
    assert all(TODAY["limits"][name] >= bound for name, bound in RECORDED["limits"].items())


def test_frames_grow_only_at_their_end() -> None:
    now = {frame["name"]: frame for frame in TODAY["frames"]}
    for frame in RECORDED["frames"]:
        before = [field["name"] for field in frame["fields"]]
        assert [field["name"] for field in now[frame["name"]]["fields"]][: len(before)] == before
        assert not any(field["required"] for field in now[frame["name"]]["fields"][len(before) :])


def test_what_streamed_streams() -> None:
    now = {call["name"]: call for call in TODAY["calls"]}
    for call in RECORDED["calls"]:
        assert ("STREAM" in call["flags"]) == ("STREAM" in now[call["name"]]["flags"])


def test_every_call_is_recorded() -> None:
    missing = {row.name for row in TABLE.values()} - {call["name"] for call in RECORDED["calls"]}
    assert not missing, f"run: python -m tests.compat.record (it adds {sorted(missing)})"


def test_a_change_would_be_seen() -> None:
    broken = json.loads(json.dumps(TODAY))
    renamed = broken["$defs"]["process.Kill"]
    renamed["properties"]["number"] = renamed["properties"].pop("signal")
    renamed["required"].append("why")
    broken["calls"][3]["number"] = 0x77
    found = list(changes(RECORDED, broken, "abi"))
    assert len(found) == 3, found
    assert not list(changes(RECORDED, joined(RECORDED, broken), "abi")), "recording again takes nothing back"


# What kernels of ABI 1 said, heard by today's client.


def covers(recorded: Any, typed: Any, where: str) -> Iterator[str]:
    """Fields that were there and are passed over today."""
    if isinstance(typed, msgspec.Struct):
        for key, value in recorded.items():
            if key in typed.__struct_fields__:
                yield from covers(value, getattr(typed, key), f"{where}.{key}")
            elif key != typed.__struct_config__.tag_field:
                yield f"{where}.{key} is not read any more"
    elif isinstance(typed, tuple | list):
        for at, (value, each) in enumerate(zip(recorded, typed, strict=True)):
            yield from covers(value, each, f"{where}[{at}]")
    elif not isinstance(typed, Raw | dict) and typed != recorded:
        yield f"{where} reads {typed!r}, was {recorded!r}"


CALLS = [(path.stem, call) for path in sorted(FOLDER.glob("*.session")) for call in load(path)]


@pytest.mark.parametrize(("session", "call"), CALLS, ids=[f"{s}-{at}-{c.name}" for at, (s, c) in enumerate(CALLS)])
def test_todays_client_reads_what_kernels_of_abi_1_said(session: str, call: Heard) -> None:
    row = BY_NAME.get(call.name)
    assert msgpack.decode(call.call)[0] == CALL
    for body in call.frames:
        frame = decode(body)
        if isinstance(frame, Items):
            assert row is not None
            for item in frame.items:
                typed = parse_answer(row.item, item, name=call.name)
                assert not list(covers(msgpack.decode(item), typed, "item"))
        elif isinstance(frame, Reply | WireEnd):
            assert row is not None
            typed = parse_answer(row.result, frame.result, name=call.name)
            assert not list(covers(msgpack.decode(frame.result), typed, "result"))
        else:
            assert isinstance(frame, Error)
            assert frame.errno in [int(errno) for errno in Errno]
            assert frame.message
