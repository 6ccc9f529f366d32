"""A kernel that makes a zygote and three workers, names them, and waits to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.e2e.sandbox_guests.host import open_zygote, worker_spec


async def main() -> None:
    async with open_zygote() as zygote:
        workers = [await zygote.spawn(worker_spec("hostile:linger")) for _ in range(3)]
        print(zygote.pid, *(worker.pid for worker in workers), flush=True)
        await trio.sleep_forever()


trio.run(main)
