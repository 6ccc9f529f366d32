"""Packed turns say the same on the wire as plain ones, weigh the same, and hold no objects of any shape."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from kernel.mm.packed import PLAIN_BYTES, packed, packed_tools
from kernel.mm.page import cut, size_of
from kernos.testing import up
from syscalls.calls import context
from syscalls.codec import pack
from syscalls.turns import ToolCall, ToolSpec, Turn, canonical, user

values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)
WIDE: dict[str, Any] = {"a": [{} for _ in range(1000)]}


@given(st.dictionaries(st.text(max_size=30), values, max_size=6))
@settings(deadline=None)
def test_it_says_and_weighs_the_same(arguments: dict[str, Any]) -> None:
    turns = (user("x"), Turn("assistant", (ToolCall("f", arguments, "1"), ToolCall("g", {}))))
    small = tuple(map(packed, turns))
    assert canonical(small) == canonical(turns)
    assert tuple(map(packed, small)) == small or len(pack(arguments)) > PLAIN_BYTES
    assert list(map(size_of, small)) == list(map(size_of, turns))
    assert len(cut(small, bytes_max=64, flush=True)[0]) == len(cut(turns, bytes_max=64, flush=True)[0])


def test_what_is_short_stays_and_what_is_packed_stays_packed() -> None:
    short, long = ToolCall("f", {"a": 1}), ToolCall("f", WIDE)
    once = packed(Turn("assistant", (short, long)))
    assert once.calls[0].arguments == {"a": 1} and isinstance(once.calls[1].arguments, Raw)
    assert canonical((packed(once),)) == canonical((once,))
    assert packed(user("x")) == user("x")
    tools = packed_tools((ToolSpec("t", "does", WIDE),))
    assert isinstance(tools[0].parameters, Raw) and pack(tools) == pack((ToolSpec("t", "does", WIDE),))


async def test_conversations_hold_no_objects_of_any_shape(autojump_clock: Any) -> None:
    async with up() as machine:
        turn = Turn("assistant", (ToolCall("f", WIDE),))
        opened = await machine.sys.call("context.open", context.Open(tools=(ToolSpec("t", "", WIDE),)))
        await machine.sys.call("context.append", context.Append(context=opened.context, turns=(turn, user("hi"))))
        held = machine.machine.contexts.get(opened.context)
        shown = [each.turn for each in held.window.entries]
        kept = [*held.tail, *shown]
        assert all(isinstance(call.arguments, Raw) for each in kept for call in each.calls)
        assert isinstance(held.tools[0].parameters, Raw) and canonical(tuple(shown)) == canonical((turn, user("hi")))
        asked = context.Generate(context=opened.context, max_tokens=3)
        assert [piece.text async for piece in machine.sys.stream(context.GENERATE, asked)]
