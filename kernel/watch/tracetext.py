"""How calls read in the trace: arguments and results as short texts, made when somebody looks, secrets left out."""

from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Raw, Struct

from syscalls.codec import parse_answer, parse_args
from syscalls.errors import SyscallError
from syscalls.row import Flag, Row, secret_fields

SHORT_CHARS_MAX = 120
FIELD_CHARS_MAX = 60
KEPT_BYTES_MAX = 256
"""Arguments and results up to here are kept as they crossed the wire; longer ones as their text."""
_NEST_MAX = 4
HIDDEN = "<secret>"
_SECRETIVE: dict[Any, bool] = {}


def short(value: object) -> str:
    """One line of `value` for people, cut to a bound."""
    text = repr(value) if not isinstance(value, str) else value
    text = " ".join(text[: 4 * SHORT_CHARS_MAX].split())
    return text if len(text) <= SHORT_CHARS_MAX else text[: SHORT_CHARS_MAX - 1] + "…"


def keep_args(row: Row, raw: bytes, args: Any) -> bytes | str:
    """What the ring keeps of arguments: never a secret, never more than a bound. `args` None: they did not fit."""
    if Flag.SECRET in row.flags:
        return ""
    if len(raw) <= KEPT_BYTES_MAX and not has_secrets(row.args):
        return raw
    return f"<{len(raw)} bytes>" if args is None else short(fields_text(args))


def keep_result(row: Row, raw: bytes, result: Any) -> bytes | str:
    """What the ring keeps of a result."""
    if row.result is None or Flag.SECRET in row.flags:
        return ""
    if len(raw) <= KEPT_BYTES_MAX and not has_secrets(row.result):
        return raw
    return short(fields_text(result))


def args_text(row: Row, kept: bytes | str) -> str:
    """Kept arguments for people."""
    if isinstance(kept, str):
        return kept
    try:
        return short(fields_text(parse_args(row, Raw(kept))))
    except SyscallError:
        return f"<{len(kept)} bytes>"


def result_text(row: Row, kept: bytes | str) -> str:
    """A kept result for people."""
    if isinstance(kept, str):
        return kept
    return short(fields_text(parse_answer(row.result, Raw(kept), name=row.name)))


def fields_text(value: Any) -> str:
    """The fields of a struct that say more than their default, as `name=value, …`; those marked SECRET show only that
    they were set."""
    if isinstance(value, dict):  # of a package's call
        return ", ".join(f"{name}={_brief(item)}" for name, item in value.items())
    if not isinstance(value, Struct):
        return ""
    hidden, usual = secret_fields(type(value)), _defaults(type(value))
    shown = ((name, getattr(value, name)) for name in value.__struct_fields__)
    return ", ".join(
        f"{name}={HIDDEN if name in hidden else _brief(item)}"
        for name, item in shown
        if item != usual[name] and item not in (None, "", (), 0, False)
    )


@cache
def _defaults(kind: type[Struct]) -> dict[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(kind)}


def has_secrets(kind: Any) -> bool:
    """Whether a struct, or one inside it, has a field marked SECRET."""
    known = _SECRETIVE.get(kind)
    if known is None:
        known = _SECRETIVE[kind] = _find_secrets(kind, set())
    return known


def _find_secrets(kind: Any, seen: set[Any]) -> bool:
    if isinstance(kind, type) and issubclass(kind, Struct):
        if kind in seen:
            return False
        seen.add(kind)
        return bool(secret_fields(kind)) or any(_find_secrets(each, seen) for each in get_type_hints(kind).values())
    return any(_find_secrets(each, seen) for each in get_args(kind))


def _brief(item: Any, nest: int = 0) -> str:
    """`item` in at most FIELD_CHARS_MAX characters, without walking the rest of it."""
    text = _open(item, nest)
    return text if len(text) <= FIELD_CHARS_MAX else text[: FIELD_CHARS_MAX - 1] + "…"


def _open(item: Any, nest: int) -> str:
    match item:
        case Raw():
            return _raw(item, nest)
        case bytes():
            return f"<{len(item)} bytes>"
        case str():
            return repr(item[: FIELD_CHARS_MAX + 1])
        case _ if nest >= _NEST_MAX:
            return "…"
        case Struct():
            return f"{type(item).__name__}({_struct(item, nest)})"
        case tuple() | list():
            return f"[{_some((_brief(each, nest + 1) for each in item[:8]), len(item))}]"
        case dict():
            pairs = (f"{_brief(key, nest + 1)}: {_brief(item[key], nest + 1)}" for key in list(item)[:8])
            return f"{{{_some(pairs, len(item))}}}"
        case _:
            return repr(item)


def _struct(item: Struct, nest: int) -> str:
    hidden = secret_fields(type(item))
    return ", ".join(
        f"{name}={HIDDEN if name in hidden else _brief(getattr(item, name), nest + 1)}"
        for name in item.__struct_fields__
    )


def _some(texts: Any, count: int) -> str:
    parts, size = [], 0
    for text in texts:
        parts.append(text)
        size += len(text)
        if size > FIELD_CHARS_MAX:
            break
    return ", ".join(parts) + (", …" if len(parts) < count else "")


def _raw(item: Raw, nest: int) -> str:
    data = bytes(item)
    if data == b"\xc0":
        return "nil"
    if len(data) > KEPT_BYTES_MAX:
        return f"<{len(data)} bytes>"
    try:
        return _brief(msgspec.msgpack.decode(data), nest + 1)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, OverflowError, ValueError):
        return f"<{len(data)} bytes>"
