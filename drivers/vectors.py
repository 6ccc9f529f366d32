"""Vectors on the wire: little-endian float32, one after another; checked before a store believes them."""

import math
import sys
from array import array
from collections.abc import Iterable

from syscalls.errors import Invalid

FLOAT_BYTES = 4


def floats_of(data: bytes) -> "array[float]":
    """The numbers in `data`. Raises Invalid when it is no whole number of float32, or one is not finite."""
    if len(data) % FLOAT_BYTES:
        raise Invalid(f"{len(data)} bytes are no float32 vectors: send little-endian float32, 4 bytes each")
    values = array("f")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    if not math.isfinite(math.fsum(values) if values else 0.0):
        raise Invalid("a vector holds NaN or infinity: send unit vectors")
    return values


def dimensions_of(count: int, vectors: bytes) -> int:
    """The length of each of `count` vectors. Raises Invalid unless the bytes divide evenly among them."""
    size, rest = divmod(len(vectors), FLOAT_BYTES * count)
    if rest or size == 0:
        raise Invalid(f"{len(vectors)} bytes of vectors for {count} ids: send as many float32 vectors as ids")
    return size


def check_dimensions(collection: str, *, has: int, got: int) -> None:
    """Raises Invalid when a vector of `got` numbers comes to a collection of `has`; 0 has none yet."""
    if has and got != has:
        raise Invalid(
            f"collection {collection} holds vectors of {has} numbers, not {got}: "
            "use one collection for each embedding model"
        )


def size_of(ids: Iterable[str], dimensions: int) -> int:
    """The bytes of rows of so many numbers, under `ids`: see syscalls.driver.Sized."""
    return sum(len(each.encode()) + FLOAT_BYTES * dimensions for each in ids)


def unit(values: "array[float]") -> "array[float]":
    """`values` scaled to length 1; a zero vector stays as it is."""
    length = math.sqrt(sum(value * value for value in values))
    return array("f", (value / length for value in values)) if length else values
