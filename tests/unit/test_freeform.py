"""Free-form values are bounded before they become objects; typed ones are not in the way."""

import contextlib
import itertools
import struct
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from kernos.testing import up
from syscalls import freeform
from syscalls.calls import context, message, model, process
from syscalls.codec import pack, parse_answer, parse_args
from syscalls.errors import Invalid, IOFailed
from syscalls.freeform import free_form_bytes
from syscalls.limits import FREE_FORM_BYTES_MAX, PARTS_MAX, TURNS_MAX
from syscalls.row import Args, Row
from syscalls.table import TABLE
from syscalls.turns import Image, Part, Text, ToolCall, ToolResult, ToolSpec, Turn, has_parts, user
from syscalls.worker import DESCRIBE, Described

values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


def append(*turns: Turn) -> context.Append:
    return context.Append(context=1, turns=turns)


@given(st.lists(st.dictionaries(st.text(max_size=3), values, max_size=4), min_size=1, max_size=4))
@settings(deadline=None)
def test_the_weight_is_that_of_the_free_form_parts(many: list[dict[str, Any]]) -> None:
    turns = Turn("assistant", tuple(ToolCall("f", each) for each in many))
    weight = free_form_bytes(context.Append, pack(append(turns, user("x" * 500))))
    assert weight == sum(len(pack(each)) for each in many)


def test_text_bytes_and_raw_weigh_nothing() -> None:
    assert free_form_bytes(context.Append, pack(append(user("x" * 10**6)))) == 0
    assert free_form_bytes(message.Send, pack(message.Send(pid=1, body=Raw(pack([{}] * 10**5))))) == 0
    assert free_form_bytes(process.Spawn, pack(process.Spawn(program="x", args=Raw(pack([{}] * 1000))))) == 0


def wide(count: int) -> bytes:
    return b"\x81\xa1a\xdd" + struct.pack(">I", count) + b"\x80" * count


def test_too_much_of_it_is_refused_as_arguments_and_as_answers() -> None:
    bomb = ToolCall("f", {"a": [{}] * FREE_FORM_BYTES_MAX})
    raw = Raw(pack(append(Turn("assistant", (bomb,)))))
    with pytest.raises(Invalid, match="free-form values"):
        parse_args(context.APPEND, raw)
    described = pack(Described(methods=(ToolSpec("f", "", {"a": [{}] * FREE_FORM_BYTES_MAX}),)))
    with pytest.raises(IOFailed, match="free-form values"):
        parse_answer(DESCRIBE.result, Raw(described), name="worker.describe")


def test_large_and_plain_is_served() -> None:
    turns = (Turn("user", (Text("y" * 3_000_000),)), Turn("assistant", (ToolCall("f", {"a": "x" * 1000}),)))
    assert parse_args(context.APPEND, Raw(pack(append(*turns)))).turns == turns


def test_what_fits_no_row_is_told_as_ever() -> None:
    with pytest.raises(Invalid, match="context"):
        parse_args(context.APPEND, Raw(pack({"context": "x" * 300_000})))
    with pytest.raises(Invalid):
        parse_args(context.APPEND, Raw(b"\x91" * 300_000))


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_every_row_can_be_looked_through(row: Row) -> None:
    assert issubclass(row.args, Args)
    try:
        free_form_bytes(row.args, b"\x80")
    except ValueError as missing:  # a field that must be there
        assert "required" in str(missing)


@pytest.mark.parametrize(
    "raw", [pack(append(*(user("x"),) * (TURNS_MAX + 1))), pack({"context": 1, "turns": [9] * 10**6})]
)
def test_too_many_turns_are_refused_before_they_are_objects(raw: bytes) -> None:
    with pytest.raises(Invalid, match=f"length <= {TURNS_MAX}"):
        parse_args(context.APPEND, Raw(raw))
    with pytest.raises(msgspec.ValidationError, match=f"length <= {TURNS_MAX}"):
        free_form_bytes(context.Append, raw)


def test_every_list_and_map_that_a_row_takes_has_a_bound() -> None:
    """Fifteen million numbers fit a call: objects of all of them are a stall, whatever the handler says of them."""
    for row in TABLE.values():
        for name, hint in get_type_hints(row.args, include_extras=True).items():
            for kind in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
                if get_origin(kind) in (tuple, dict, list):
                    raise AssertionError(f"{row.name}: {name} takes any number of items")


def test_what_is_not_free_form_is_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    weighed = itertools.count()
    weigh = freeform._weigh
    monkeypatch.setattr(freeform, "_weigh", lambda value: next(weighed) * 0 + weigh(value))
    free_form_bytes(model.Tokenize, pack(model.Tokenize(ids=(1,) * 1000)))
    assert next(weighed) < 10


@pytest.mark.parametrize("part", [Text("x"), Image(b"x"), ToolCall("f", {}), ToolResult("x")])
def test_parts_are_told_by_their_kinds(part: Part) -> None:
    data = pack((Turn("user", (part,) * 3), Turn("tool", (part,) * 4)))
    assert has_parts(data, 7) and not has_parts(data, 8)
    assert not has_parts(pack((user("type: ätype text type"),)), 3)


async def test_turns_of_too_many_parts_are_refused_by_the_gate(autojump_clock: Any) -> None:
    async with up() as machine:
        conversation = await machine.sys.call("context.open", context.Open())
        for count, refused in ((PARTS_MAX, False), (PARTS_MAX + 1, True)):
            turn = Turn("user", (Text(""),) * count)
            with pytest.raises(Invalid, match="parts at once") if refused else contextlib.nullcontext():
                await machine.sys.call("context.append", context.Append(context=conversation.context, turns=(turn,)))
