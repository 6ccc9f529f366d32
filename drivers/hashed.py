"""An embedding without a model: words and their three-letter pieces hashed into 256 axes, the same on every machine.

It knows no meaning: texts are near each other when they share words, or words with the same stem. It is for tests, and
for machines that lack the weights. The longer a word, the more it counts: a poor man's inverse document frequency.
"""

import math
import re
import struct
from collections import Counter
from zlib import crc32

DIMENSIONS = 256
WORD = re.compile(r"\w+")
PIECE_CHARS = 3
PIECE_WEIGHT = 0.4
LONG_WORD_CHARS = 6


def vector_of(text: str) -> tuple[bytes, int]:
    """A unit vector of DIMENSIONS little-endian float32, and the number of words; a text without any gets axis 0."""
    counts = Counter(WORD.findall(text.lower()))
    sums = [0.0] * DIMENSIONS
    for word, count in counts.items():
        weight = (1.0 + math.log(count)) * min(len(word), LONG_WORD_CHARS) / LONG_WORD_CHARS
        _add(sums, word, weight)
        edged = f"<{word}>"
        pieces = len(edged) - PIECE_CHARS + 1
        for at in range(pieces):
            _add(sums, edged[at : at + PIECE_CHARS], weight * PIECE_WEIGHT / math.sqrt(pieces))
    length = math.sqrt(sum(value * value for value in sums))
    if length == 0.0:
        sums[0] = length = 1.0
    return struct.pack(f"<{DIMENSIONS}f", *(value / length for value in sums)), counts.total()


def _add(sums: list[float], word: str, weight: float) -> None:
    draw = crc32(word.encode())
    sums[draw % DIMENSIONS] += weight if draw & (1 << 20) else -weight
