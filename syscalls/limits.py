"""Every bound of the ABI in one place: sizes in bytes, counts, seconds; the unit stands last in the name."""

from typing import final

import msgspec

KIB = 1024
MIB = 1024 * KIB

ABI_VERSION = 1


@final
class PeerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one end of a link accepts from the other. Memory held for a peer is bounded by these.

    `blob_bytes_max` bounds one argument or result that does not fit a frame; `blob_total_bytes_max` bounds all of a
    link's that are on their way.
    """

    frame_bytes_max: int = 64 * KIB
    calls_max: int = 1024
    credit_max: int = 1 << 20
    blob_bytes_max: int = 16 * MIB
    blob_total_bytes_max: int = 32 * MIB
    blob_window_bytes: int = 256 * KIB
    chunk_bytes: int = 48 * KIB

    def __post_init__(self) -> None:
        assert self.chunk_bytes + 64 <= self.frame_bytes_max, "a chunk and its header must fit a frame"
        assert self.chunk_bytes <= self.blob_window_bytes, "a window below one chunk would never open"
        assert self.blob_bytes_max <= self.blob_total_bytes_max


CLIENT_LIMITS = PeerLimits()
DRIVER_LIMITS = PeerLimits(
    frame_bytes_max=4 * MIB,
    calls_max=4096,
    chunk_bytes=1 * MIB,
    blob_window_bytes=4 * MIB,
    blob_bytes_max=64 * MIB,
    blob_total_bytes_max=128 * MIB,
)
TINY_LIMITS = PeerLimits(
    frame_bytes_max=256,
    calls_max=4,
    credit_max=64,
    blob_bytes_max=2 * KIB,
    blob_total_bytes_max=4 * KIB,
    blob_window_bytes=256,
    chunk_bytes=128,
)

OUTBOX_BYTES_MAX = 4 * MIB
"""While so much waits to be written to a client or worker, the kernel reads nothing more from it."""

STREAM_CREDIT = 64

FREE_FORM_BYTES_MAX = 256 * KIB
"""Values of any shape in one argument or result: decoded they take up to eighty times what they weigh."""
ITEMS_MAX = 1 << 16
"""Of one list or map in the arguments of a call: all of them become objects in one go."""
TURNS_MAX = 1 << 13
PARTS_MAX = 1 << 15
"""Turns in the arguments of one call, and the parts of all of them."""
