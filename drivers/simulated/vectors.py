"""Simulated embeddings: words hashed into a few dimensions, so that texts with the same words are near each other."""

import hashlib
import math
import re
import struct

DIMENSIONS = 64


def vector_of(text: str) -> bytes:
    """A unit vector of DIMENSIONS little-endian float32; a text without words gets the first axis."""
    sums = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        draw = hashlib.blake2b(word.encode(), digest_size=8).digest()
        for at in range(0, 8, 2):
            sums[draw[at] % DIMENSIONS] += 1.0 if draw[at + 1] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in sums))
    if length == 0.0:
        sums[0] = length = 1.0
    return struct.pack(f"<{DIMENSIONS}f", *(value / length for value in sums))
