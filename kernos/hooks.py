"""The extension points, for those who write drivers, policies, commands and model sources: see syscalls/hooks.py."""

from syscalls.hooks import (
    Claim,
    Device,
    Driver,
    EmbeddingDevice,
    Emit,
    EvictionPolicy,
    Exchange,
    ModelDevice,
    ModelSource,
    SchedulingPolicy,
    Source,
    StoreDevice,
    hookimpl,
)

__all__ = [
    "Claim",
    "Device",
    "Driver",
    "EmbeddingDevice",
    "Emit",
    "EvictionPolicy",
    "Exchange",
    "ModelDevice",
    "ModelSource",
    "SchedulingPolicy",
    "Source",
    "StoreDevice",
    "hookimpl",
]
