"""Seeds: one small input for each thing that there is, so that fuzzing begins inside and not at the door."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Raw, msgpack

from syscalls import driver, worker
from syscalls.row import Row
from syscalls.table import TABLE
from syscalls.wire import Bye, Call, Cancel, Chunk, Credit, Error, Frame, Hello, Items, Reply, encode

ROWS: tuple[Row, ...] = (*TABLE.values(), *driver.TABLE.values(), *worker.TABLE.values())
"""Every row whose arguments come from somebody else."""
SYSCALLS = tuple(TABLE.values())


def write_seeds(target: str, folder: Path) -> None:
    """The seeds of a target, as files: those made from the table and those kept in corpus/."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = Path(__file__).parent / "corpus" / target
    inputs = [*_SEEDS[target](), *(path.read_bytes() for path in sorted(kept.glob("*")))]
    for number, data in enumerate(inputs):
        (folder / f"{number:04}").write_bytes(data)


def steps(data: bytes) -> Iterator[tuple[int, bytes]]:
    """How the gate's inputs are read: a byte that picks, two bytes of length, so many bytes; again until the end."""
    at = 0
    while at + 3 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big") % 1024
        yield data[at], data[at + 3 : at + 3 + size]
        at += 3 + size


def step(pick: int, body: bytes) -> bytes:
    """One step as `steps` reads it."""
    return bytes([pick]) + len(body).to_bytes(2, "big") + body


def sample(kind: Any) -> Any:
    """Some value of a type, as plain data: fields that have a default are left out."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        made = {f.encode_name: sample(hints[f.name]) for f in msgspec.structs.fields(kind) if f.default is NODEFAULT}
        config = kind.__struct_config__
        return {config.tag_field: config.tag, **made} if config.tag_field else made
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (tuple, list):
        return [sample(parts[0])]
    if origin is dict:
        return {}
    if parts:
        return parts[0] if isinstance(parts[0], str) else sample(parts[0])
    return {int: 1, float: 0.5, str: "sim", bool: True, bytes: b"x", Raw: 1}.get(kind)


def _peer() -> Iterator[bytes]:
    raw = Raw(b"\xc0")
    frames: list[Frame] = [
        Call(1, 0, 0x70, raw, 3), Reply(1, raw), Error(1, 5, "no"), Items(1, [raw]), Credit(1, 2), Cancel(1, "x"),
        Chunk(1, 0, b"x"), Bye("x"),
    ]  # fmt: skip
    for frame in frames:
        yield b"\x02" + encode(Hello()) + encode(frame)
    yield b"\x13" + encode(Hello()) + b"".join(map(encode, frames))


def _args() -> Iterator[bytes]:
    for number, row in enumerate(ROWS):
        yield bytes([number]) + msgpack.encode(sample(row.args))


def _gate() -> Iterator[bytes]:
    calls = [step(number, msgpack.encode(sample(row.args))) for number, row in enumerate(SYSCALLS)]
    yield from calls
    yield b"".join(calls)


_SEEDS = {"peer": _peer, "args": _args, "gate": _gate}
