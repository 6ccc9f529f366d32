"""Programs that abuse their link, their output and the processor: each ends as it says, and others are answered."""

import pkgutil
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from syscalls.calls import clock, process
from syscalls.errors import TimedOut
from syscalls.worker_limits import WorkerLimits
from tests.escape import abuse
from tests.kernelproc import KernelProcess, kernel_up, spawn, wait

HERE = Path(__file__).parent
NAMES = sorted(module.name for module in pkgutil.iter_modules(abuse.__path__))
CONFIG = 'embedding = "sim"\nstore = "memory"\n[models.sim]\norigin = "sim:"\ndriver = "sim"\n'
LIMITS = WorkerLimits(cpu_s=2, memory_bytes=256 << 20, files=64, output_bytes_s=65536)
PATIENT = WorkerLimits(cpu_s=60)
LASTS_S = 1.0
READ = f"file:{HERE}/** read"


def program(name: str) -> ModuleType:
    return import_module(f"tests.escape.abuse.{name}")


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as up:
        yield up


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_as_it_says_and_others_are_answered(kernel: KernelProcess, name: str) -> None:
    told = program(name)
    limits = PATIENT if told.ENDS is None else LIMITS
    with kernel.link() as link, kernel.link() as other:
        owner = spawn(other, f"{HERE}/as_program.py:owns", rights=(READ, "context:**", "model:**"))
        pid = spawn(link, f"{HERE}/as_program.py:abuser", name, limits=limits, rights=(READ,))
        ended, answered, began = None, 0, time.monotonic()
        while ended is None and (told.ENDS is not None or time.monotonic() < began + LASTS_S):
            other.call(clock.NOW, clock.Now())
            answered += 1
            try:
                ended = wait(link, pid, timeout_s=0.05)
            except TimedOut:
                assert time.monotonic() < began + 60
        assert answered > 0
        if told.ENDS is None:
            if ended is None:
                link.call(process.KILL, process.Kill(pid=pid, signal=9))
                ended = wait(link, pid)
            assert ended.status in ("killed", "worker_lost"), ended
        else:
            assert ended is not None and ended.status in told.ENDS, ended
            if ended.status == "done":
                assert msgspec.msgpack.decode(ended.value) == 0
        other.call(process.KILL, process.Kill(pid=owner, signal=9))
        unharmed = wait(other, owner)
        assert unharmed.status == "killed", unharmed


def test_each_says_what_it_tries_and_what_stops_it() -> None:
    assert len(NAMES) >= 15
    for name in NAMES:
        assert program(name).__doc__ and program(name).STOPPED_BY, name
