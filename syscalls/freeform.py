"""How many bytes of some arguments are free-form: values of any shape, which a decoder makes into objects.

Typed fields cost about what they weigh. A field of type Any does not: sixteen megabytes of empty maps become more than
a gigabyte of dicts, and the arguments of a call are decoded before anybody knows whether they are worth it. So large
arguments are looked through first, with every such field left as bytes.
"""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Raw, Struct

_LEAN: dict[Any, Any] = {}
_HEAVY: dict[Any, tuple[str, ...]] = {}
"""Of each lean struct the fields in which something free-form lies: what else there is need not be walked."""


def free_form_bytes(kind: type[Any], data: bytes) -> int:
    """The bytes of `data`, a `kind`, that lie in free-form fields. Raises what msgspec raises where it is no `kind`."""
    lean = _lean(kind)
    return 0 if lean is kind else _weigh(msgspec.msgpack.decode(data, type=lean))


def _weigh(value: Any) -> int:
    if isinstance(value, Raw):
        return len(bytes(value))
    if isinstance(value, Struct):
        return sum([_weigh(getattr(value, name)) for name in _HEAVY.get(type(value), ())])
    if isinstance(value, tuple | list):
        return sum(map(_weigh, value))
    return 0


def _lean(kind: Any) -> Any:
    """`kind` with every free-form part of it a Raw; `kind` itself where it has none."""
    if kind not in _LEAN:
        _LEAN[kind] = _made_lean(kind)
    return _LEAN[kind]


def _made_lean(kind: Any) -> Any:
    if kind is Any or kind is object:
        return Raw
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _lean_struct(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner = _lean(parts[0])
        return kind if inner is parts[0] else Annotated[inner, *parts[1:]]
    lean = tuple(part if part is ... else _lean(part) for part in parts)
    if lean == parts:
        return kind
    if origin is dict:
        return Raw
    if origin in (Union, UnionType):
        return Union[lean]  # noqa: UP007 (made of a tuple)
    return origin[lean]


def _lean_struct(kind: type[Struct]) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    lean = {name: _lean(hint) for name, hint in hints.items()}
    if lean == hints:
        return kind
    fields = [
        (field.name, lean[field.name])
        if field.required
        else (field.name, lean[field.name], field.default if field.default is not NODEFAULT else None)
        for field in msgspec.structs.fields(kind)
    ]
    config = kind.__struct_config__
    made = msgspec.defstruct(
        f"Lean{kind.__name__}", fields, tag_field=config.tag_field, tag=config.tag, kw_only=True, gc=False
    )
    _HEAVY[made] = tuple(name for name in hints if lean[name] != hints[name])
    return made
