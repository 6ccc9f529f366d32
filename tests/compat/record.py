"""`python -m tests.compat.record`: records what is not recorded yet; what is recorded is never changed.

A session of `tests.compat.sessions` without a file is played against a real kernel and written down, both directions.
Calls, fields, errors and signals that `abi1/schema.json` lacks are added to it; the rest of it stays as it is, and
tests/unit/test_compat.py holds the table to it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import msgpack

from syscalls.schemas import document
from syscalls.table import BY_NAME, RESERVED
from tests.compat.sessions import CALL, CONFIG, FOLDER, SESSIONS, Client, Heard, Ref, Step, play
from tests.kernelproc import kernel_up

SCHEMA = FOLDER / "schema.json"
NUMBERS = {**{row.name: row.number for row in BY_NAME.values()}, **{name: number for number, name in RESERVED.items()}}


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    old = json.loads(SCHEMA.read_text()) if SCHEMA.exists() else {}
    SCHEMA.write_text(json.dumps(joined(old, document()), indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    for name, steps in SESSIONS.items():
        path = FOLDER / f"{name}.session"
        if not path.exists():
            record(path, steps)
            print(f"recorded {path.name}: {len(steps)} calls")
    return 0


def record(path: Path, steps: list[Step]) -> None:
    """Plays `steps` against a fresh kernel."""
    calls = [_unheard(number, step) for number, step in enumerate(steps, 1)]
    with kernel_up(config=CONFIG) as up:
        client = Client(up.socket)
        try:
            for call, frames in zip(calls, play(client, calls), strict=True):
                call.frames = frames
        finally:
            client.close()
    path.write_bytes(msgspec.msgpack.encode(calls))


def _unheard(number: int, step: Step) -> Heard:
    refs = {name: value for name, value in step.args.items() if isinstance(value, Ref)}
    args = {name: 0 if name in refs else value for name, value in step.args.items()}
    call = msgpack.encode([CALL, number, 0, NUMBERS.get(step.name, step.name), args, step.credit])
    return Heard(step.name, call, refs, [], step.items, step.begin)


def joined(old: Any, new: Any) -> Any:
    """`old` with what only `new` has: keys of maps, and of lists those that have a name."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**new, **{key: joined(value, new[key]) if key in new else value for key, value in old.items()}}
    if isinstance(old, list) and isinstance(new, list) and all(_named(each) for each in (*old, *new)):
        known = {each["name"] for each in old}
        by_name = {each["name"]: each for each in new}
        kept = [joined(each, by_name.get(each["name"], each)) for each in old]
        return kept + [each for each in new if each["name"] not in known]
    return old


def _named(value: Any) -> bool:
    return isinstance(value, dict) and "name" in value


if __name__ == "__main__":
    sys.exit(main())
