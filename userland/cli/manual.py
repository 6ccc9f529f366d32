"""The manual page of a system call, made from its row of the table and the structs it names."""

import inspect
import re
import textwrap
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Raw

from syscalls.errors import CLASS_OF, Errno
from syscalls.row import Flag, Row

WIDTH = 88
_ERROR = re.compile(r"\b(E[A-Z]+)(?::| says) (.+?\.)(?=\s+E[A-Z]+:|\s*$|\s[A-Z][a-z])", re.DOTALL)
_FLAGS = {
    Flag.INLINE: "answered at once, it cannot wait",
    Flag.STREAM: "gives items before its result",
    Flag.IDEMPOTENT: "may be made again after a crash",
    Flag.EFFECT: "changes the world outside the caller",
    Flag.JOURNALED: "its outcome is recorded for a durable process",
    Flag.SECRET: "its arguments never enter the trace",
}


def page(row: Row) -> list[str]:
    """The lines of a manual page."""
    lines = [_title(row), ""]
    for head, body in _sections(row):
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
    """The errors that a caller should expect, by name, with what each means here."""
    told = {name: meaning for name, meaning in _ERROR.findall(row.doc) if name in Errno.__members__}
    errors = dict(told)
    if row.needs is not None:
        errors.setdefault("EPERM", _meaning(Errno.EPERM))
        if "{pid}" in row.needs.resource:
            errors.setdefault("ESRCH", _meaning(Errno.ESRCH))
        if row.needs.resource.startswith(("context:{", "model:{", "program:{", "tool:{")):
            errors.setdefault("ENOENT", _meaning(Errno.ENOENT))
    errors.setdefault("EINVAL", _meaning(Errno.EINVAL))
    if Flag.INLINE not in row.flags:
        errors.setdefault("ECANCELED", _meaning(Errno.ECANCELED))
    return {errno.name: errors[errno.name] for errno in Errno if errno.name in errors}


def _title(row: Row) -> str:
    left = f"{row.name.upper()}(2)"
    middle = "kernos system calls"
    gap = WIDTH - 2 * len(left)
    return f"{left}{middle:^{max(gap, len(middle) + 2)}}{left}"


def _sections(row: Row) -> Iterator[tuple[str, list[str]]]:
    yield "NAME", _filled(f"{row.name} - {summary(row)}")
    yield "SYNOPSIS", _filled(synopsis(row), hanging=8)
    yield "DESCRIPTION", [*_filled(row.doc), *(["", *_prose(row.args)] if fields_of(row.args) else [])]
    if fields_of(row.args):
        yield "ARGUMENTS", _fields(row.args)
    if row.item is not None:
        yield "ITEMS", _struct(row.item)
    if row.result is not None and fields_of(row.result):
        yield "RESULT", _struct(row.result)
    for name, kind in sorted(_named(row).items()):
        yield name.upper(), _struct(kind)
    yield "RIGHT", _filled(_right(row))
    yield (
        "FLAGS",
        [f"{flag.name or '':<12}{meaning}" for flag, meaning in _FLAGS.items() if flag in row.flags] or ["none"],
    )
    errors = errors_of(row)
    yield "ERRORS", [line for name, text in errors.items() for line in _filled(f"{name:<12}{text}", hanging=12)]
    yield "NUMBER", [f"0x{row.number:02X}"]


def _right(row: Row) -> str:
    if row.needs is None:
        return "None: it touches nothing but the caller itself."
    right = f"{row.needs.resource} {row.needs.action}"
    example = re.sub(r"\{\w+\}", "*", right)
    return f"{right}    (to grant it: kernos run --allow '{example}' ...)"


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


def _meaning(errno: Errno) -> str:
    return _doc(CLASS_OF[errno]).partition(": ")[2]


def _filled(text: str, *, hanging: int = 0) -> list[str]:
    return textwrap.wrap(text, WIDTH - 4, subsequent_indent=" " * hanging, break_long_words=False) or [""]
