"""A design with one thread and one Event for each call, as AIOS has it (aios/syscall, aios/scheduler): an agent's
thread makes a Syscall, which is a thread, puts it into a queue, starts and joins it; the scheduler's thread takes it
out, serves it and sets its event. All in one process: what AIOS puts on top of that (HTTP, copies, prints) is left out.
"""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.abi.sides import Timed


class Syscall(threading.Thread):
    """One call: its thread only waits until it has been served."""

    def __init__(self, number: int, args: dict[str, int]) -> None:
        super().__init__()
        self.number = number
        self.args = args
        self.event = threading.Event()
        self.status = "active"
        self.created_s = time.time()
        self.response: object = None

    def run(self) -> None:
        self.event.wait()


class Scheduler(threading.Thread):
    """Serves what is in the queue, one after another."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.requests: queue.Queue[Syscall | None] = queue.Queue()

    def run(self) -> None:
        while True:
            try:
                syscall = self.requests.get(block=True, timeout=1)
            except queue.Empty:
                continue
            if syscall is None:
                return
            syscall.status = "executing"
            syscall.response = {}
            syscall.status = "done"
            syscall.event.set()


@contextmanager
def thread_calls(callers: int) -> Iterator[Timed]:
    """So many calls in all, by `callers` agents at once."""
    scheduler = Scheduler()
    scheduler.start()

    def agent(times: int, go: threading.Event) -> None:
        go.wait()
        for _ in range(times):
            syscall = Syscall(4, {"pid": 7, "nice": 0})
            scheduler.requests.put(syscall)
            syscall.start()
            syscall.join()
            assert syscall.status == "done"

    def run(times: int) -> float:
        go = threading.Event()
        agents = [threading.Thread(target=agent, args=(times // callers, go)) for _ in range(callers)]
        for each in agents:
            each.start()
        began = time.perf_counter()
        go.set()
        for each in agents:
            each.join()
        return time.perf_counter() - began

    try:
        yield run
    finally:
        scheduler.requests.put(None)
        scheduler.join()
