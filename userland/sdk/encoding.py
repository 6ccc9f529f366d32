"""Python values to msgpack and back, for what programs hand to each other and to tools."""

from pathlib import PurePath
from typing import Any

import msgspec
from msgspec import Raw

from syscalls.errors import Invalid, IOFailed


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"objects of type {type(value).__name__} have no msgpack form")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain)


def encode(value: Any, *, what: str) -> Raw:
    """`value` as msgpack: numbers, text, bytes, lists, maps, paths, dataclasses, structs.

    Raises Invalid (EINVAL) that begins with `what` for anything else.
    """
    try:
        return Raw(_ENCODER.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as bad:
        shown = type(value).__name__
        raise Invalid(
            f"{what} {shown}, which cannot cross the ABI: {bad}; give numbers, text, bytes, lists, maps or structs"
        ) from None


def decode(raw: Raw | bytes, kind: Any = Any) -> Any:
    """What the other side encoded, as `kind` where one is given. Raises IOFailed (EIO) if it is something else."""
    try:
        return msgspec.msgpack.decode(raw, type=kind, dec_hook=from_plain)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as bad:
        raise IOFailed(f"the answer is not what was asked for: {bad}") from None


def from_plain(kind: type[Any], value: Any) -> Any:
    """msgspec's hook for the types it does not know: paths come as text."""
    if isinstance(kind, type) and issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"{getattr(kind, '__name__', kind)} cannot be read from a {type(value).__name__}")
