"""Between typed structs and raw msgpack: encoders for arguments, checked decoders for what came from outside."""

from typing import Any

import msgspec
from msgspec import Raw

from syscalls.errors import Invalid, IOFailed
from syscalls.freeform import free_form_bytes
from syscalls.limits import FREE_FORM_BYTES_MAX
from syscalls.row import Row
from syscalls.wire import NIL

_ENCODER = msgspec.msgpack.Encoder()
EMPTY = b"\x80"
_NIL = bytes(NIL)


_DECODERS: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def _decoder(kind: type[Any]) -> msgspec.msgpack.Decoder[Any]:
    """Made once for each type: making one costs far more than using it."""
    found = _DECODERS.get(kind)
    if found is None:
        found = _DECODERS[kind] = msgspec.msgpack.Decoder(kind)
    return found


def pack(value: Any) -> bytes:
    """`value` as msgpack. Raises Invalid (EINVAL) naming the type for what msgpack cannot hold."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as bad:
        raise Invalid(f"this cannot cross the ABI: {bad}; send numbers, text, bytes, lists, maps or structs") from None


def unpack(kind: type[Any], raw: Raw | bytes) -> Any:
    """`raw` as `kind`. Raises Invalid (EINVAL) with the field that does not fit."""
    try:
        return _decoder(kind).decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, OverflowError) as bad:
        raise Invalid(f"{getattr(kind, '__name__', kind)}: {bad}") from None


def parse_args(row: Row, raw: Raw | bytes) -> Any:
    """The typed arguments of a call. Raises Invalid that names the call and the field."""
    data = bytes(raw)
    try:
        if len(data) > FREE_FORM_BYTES_MAX:
            _bound_free_form(row.args, data)
        decoder = _DECODERS.get(row.args) or _decoder(row.args)
        return decoder.decode(EMPTY if data == _NIL else data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, OverflowError) as bad:
        raise Invalid(f"{row.name}: {bad}; see 'kernos man {row.name}'") from None


def parse_answer(kind: type[Any] | None, raw: Raw, *, name: str) -> Any:
    """A typed result or item. Raises IOFailed (EIO) when the other end answered with something else."""
    if kind is None:
        return None
    try:
        if len(bytes(raw)) > FREE_FORM_BYTES_MAX:
            _bound_free_form(kind, bytes(raw))
        decoder = _DECODERS.get(kind) or _decoder(kind)
        return decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, OverflowError) as bad:
        raise IOFailed(f"{name} was answered with something else: {bad}") from None


def _bound_free_form(kind: type[Any], data: bytes) -> None:
    """Raises ValidationError for more free-form bytes than may become objects."""
    size = free_form_bytes(kind, data)
    if size > FREE_FORM_BYTES_MAX:
        raise msgspec.ValidationError(
            f"free-form values of {size} bytes, at most {FREE_FORM_BYTES_MAX} in one call: send them as text or bytes"
        )
