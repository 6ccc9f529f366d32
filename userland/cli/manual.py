"""The manual page of a system call in the shape of man-pages section 2, made from its row and the structs it names."""

import inspect
import re
import textwrap
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Raw

from syscalls.errors import Errno
from syscalls.row import Flag, Row

WIDTH = 88
_FLAGS = {
    Flag.INLINE: "answered at once, it cannot wait",
    Flag.STREAM: "gives items before its result",
    Flag.IDEMPOTENT: "may be made again after a crash",
    Flag.EFFECT: "changes the world outside the caller",
    Flag.JOURNALED: "its outcome is recorded for a durable process",
    Flag.SECRET: "its arguments and result never enter the trace",
}


def page(row: Row) -> list[str]:
    """The lines of a manual page."""
    lines = [title(f"{row.name.upper()}(2)"), ""]
    for head, body in sections(row):
        lines += [head, *(f"    {line}".rstrip() for line in body), ""]
    return lines[:-1]


def summary(row: Row) -> str:
    """One line: the first sentence of what it does."""
    return re.split(r"(?<=[.;]) ", row.doc, maxsplit=1)[0].rstrip(".;")


def synopsis(row: Row) -> str:
    """`name(field: type = default, …) -> Result`, with the items of a stream before the result."""
    fields = ", ".join(f"{name}: {kind}{default}" for name, kind, default in fields_of(row.args))
    result = type_name(row.result) if row.result is not None else "nothing"
    if row.item is not None:
        result = f"stream of {type_name(row.item)}, then {result}"
    return f"{row.name}({fields}) -> {result}"


def fields_of(kind: type[Any]) -> list[tuple[str, str, str]]:
    """Name, type and ` = default` of every field of a struct."""
    hints = get_type_hints(kind)
    return [(field.name, type_name(hints[field.name]), _default(field)) for field in msgspec.structs.fields(kind)]


def type_name(kind: Any) -> str:
    """A type as a reader of the manual says it."""
    if kind is Raw:
        return "msgpack"
    if kind is types.NoneType or kind is None:
        return "none"
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "|".join(str(choice) for choice in args)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(arg) for arg in args)
    if origin is tuple:
        return f"[{type_name(args[0])}, …]" if args[1:] == (...,) else f"[{', '.join(map(type_name, args))}]"
    if origin is list:
        return f"[{type_name(args[0])}, …]"
    if origin is dict:
        return f"{{{type_name(args[0])}: {type_name(args[1])}}}"
    return str(getattr(kind, "__name__", kind))


def errors_of(row: Row) -> dict[str, str]:
    """The errors that a caller should expect, by name: what each means here, then those that follow from the row."""
    told = {errno.name: text for errno, text in row.says.errors}
    for errno, text in _following(row):
        told[errno.name] = f"{told[errno.name].rstrip('.')}; or {text}" if errno.name in told else text
    return {errno.name: told[errno.name] for errno in Errno if errno.name in told}


def _following(row: Row) -> Iterator[tuple[Errno, str]]:
    if row.needs is not None:
        yield Errno.EPERM, "the caller lacks the right; the message names it and how to grant it."
        yield Errno.EQUOTA, "the account, or one above it, has made all the calls that it may."
        if "{pid}" in row.needs.resource and Errno.ESRCH not in dict(row.says.errors):
            yield Errno.ESRCH, "there is no such process."
        if row.needs.resource.startswith("context:{") and Errno.ENOENT not in dict(row.says.errors):
            yield Errno.ENOENT, "there is no such context."
    if fields_of(row.args):
        yield Errno.EINVAL, "the arguments do not fit the row of the table; the message names the field."
    if not row.inline:
        yield Errno.ECANCELED, "the caller cancelled it."


def journal_of(row: Row) -> str:
    """What a durable process's journal keeps of the call; follows from its flags."""
    if Flag.JOURNALED in row.flags and Flag.EFFECT in row.flags:
        return (
            "Its outcome is recorded, a refusal too; a replay is given that outcome and the effect is not done again."
        )
    if Flag.JOURNALED in row.flags:
        return "Its outcome is recorded, a refusal too; a replay is given what was answered then."
    if Flag.EFFECT in row.flags:
        return "Nothing is recorded: it is the operator's, not a program's."
    return "Nothing is recorded: a replay asks again and is told what is true then."


def indented(text: str, *, by: int = 4) -> list[str]:
    """`text` as lines of a page."""
    return [" " * by + line for line in textwrap.wrap(text, WIDTH - by, break_long_words=False)]


def title(left: str) -> str:
    """The first line of a page: `NAME(2)` at both ends."""
    middle = "kernos system calls"
    gap = WIDTH - 2 * len(left)
    return f"{left}{middle:^{max(gap, len(middle) + 2)}}{left}"


def sections(row: Row) -> Iterator[tuple[str, list[str]]]:
    """Head and lines of each section, in the order of man-pages' section 2."""
    yield "NAME", _filled(f"{row.name} - {summary(row)}")
    yield "SYNOPSIS", _filled(synopsis(row), hanging=8)
    yield "DESCRIPTION", [*_filled(row.doc), *(["", *_prose(row.args)] if fields_of(row.args) else [])]
    if fields_of(row.args):
        yield "ARGUMENTS", _fields(row.args)
    if row.item is not None:
        yield "ITEMS", _struct(row.item)
    if row.result is not None and fields_of(row.result):
        yield "RETURN VALUE", _struct(row.result)
    for name, kind in sorted(_named(row).items()):
        yield name.upper(), _struct(kind)
    yield "ERRORS", [line for name, text in errors_of(row).items() for line in _filled(f"{name:<12}{text}", hanging=12)]
    yield "WAITING", _filled(row.says.waits or "It never waits: it is answered at once.")
    if not row.inline:
        yield "CANCELLATION", _filled(row.says.cancelled or "Nothing is left behind.")
    yield "COST", _filled(row.says.costs or "Nothing but the call.")
    yield "JOURNAL", _filled(journal_of(row))
    yield "RIGHT", _filled(_right(row))
    yield "FLAGS", [f"{flag.name or '':<12}{text}" for flag, text in _FLAGS.items() if flag in row.flags] or ["none"]
    yield "NUMBER", [f"0x{row.number:02X}"]


def _right(row: Row) -> str:
    if row.needs is None:
        return "None: it touches nothing but the caller itself."
    rights = [f"{each.resource} {each.action}" for each in (row.needs, row.also) if each is not None]
    examples = " ".join("--allow '" + re.sub(r"\{\w+\}", "*", right) + "'" for right in rights)
    return f"{' and '.join(rights)}    (to grant it: kernos run {examples} ...)"


def _struct(kind: type[Any]) -> list[str]:
    return [*_filled(f"{kind.__name__}: {_doc(kind)}"), "", *_fields(kind)]


def _fields(kind: type[Any]) -> list[str]:
    fields = fields_of(kind)
    size = max((len(name) for name, _, _ in fields), default=0)
    return [f"{name:<{size}}  {shown}{default}" for name, shown, default in fields]


def _named(row: Row) -> dict[str, type[Any]]:
    """The structs that the arguments are made of: a reader needs them to make the call."""
    found: dict[str, type[Any]] = {}
    waiting = list(get_type_hints(row.args).values())
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting += get_type_hints(kind).values()
        waiting += [arg for arg in get_args(kind) if arg is not ...]
    return found


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not NODEFAULT:
        value = field.default
    elif field.default_factory is not NODEFAULT:
        value = field.default_factory()
    else:
        return ""
    if isinstance(value, Raw):
        return " = nil"
    if isinstance(value, tuple | list) and not value:
        return " = []"
    return f" = {'none' if value is None else repr(value)}"


def _prose(kind: type[Any]) -> list[str]:
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(kind.__doc__ or "")):
        lines += [*([""] if lines else []), *_filled(" ".join(paragraph.split()))]
    return lines


def _doc(kind: type[Any]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _filled(text: str, *, hanging: int = 0) -> list[str]:
    return textwrap.wrap(text, WIDTH - 4, subsequent_indent=" " * hanging, break_long_words=False) or [""]
