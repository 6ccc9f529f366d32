"""A call that does nothing, with a right to check, an account and a trace record: against a bare ping-pong, gRPC, a
design with threads, and itself without the trace."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Raw

from bench.abi.pingpong import pingpong
from bench.abi.rpc import grpc_call
from bench.abi.sides import CONFIG, Timed, in_turns, quiet, ratio, timed
from bench.abi.threads import thread_calls
from bench.kernelside import kernel
from kernel.config import Bounds
from kernel.watch.pages import PAGE_CALLS
from syscalls.calls import kernel as kernel_calls
from syscalls.calls import message, process
from syscalls.codec import pack, unpack
from syscalls.link.blocking import BlockingLink

CALLERS = 64
CROWD_ROUND_S = 0.04
PROGRAM = """
import time

import trio

from kernos import Sys, program

@program
async def caller(sys: Sys) -> None:
    async def some(times: int) -> None:
        for _ in range(times):
            await sys.call("process.nice", pid=sys.pid, nice=0)

    while True:
        order = await sys.receive()
        callers, times = order.body
        began = time.perf_counter()
        if callers == 1:
            await some(times)
        else:
            async with trio.open_nursery() as nursery:
                for _ in range(callers):
                    nursery.start_soon(some, times // callers)
        await sys.send(order.sender, time.perf_counter() - began)
"""


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The figures, and what they were made of in microseconds."""
    rounds = 40 if quick else 160
    with ExitStack() as stack:
        link = _link(stack, "")
        sides: dict[str, Timed] = {
            "pingpong": stack.enter_context(pingpong()),
            "blocking": timed(_no_op(link)),
            "program": stack.enter_context(in_program(link, folder, callers=1)),
        }
        grpc = stack.enter_context(grpc_call())
        if grpc is not None:
            sides["grpc"] = grpc
        taken = in_turns(sides, rounds=rounds)
        crowd = in_turns(
            {
                "threads": stack.enter_context(thread_calls(CALLERS)),
                "callers": stack.enter_context(in_program(link, folder, callers=CALLERS)),
            },
            rounds=rounds // 4,
            round_s=CROWD_ROUND_S,
            unit=CALLERS,
        )
    figures = {f"{name}_us": 1e6 * quiet(each) for name, each in (taken | crowd).items()}
    if grpc is not None:
        figures["grpc_speedup"] = ratio(taken, "grpc", "blocking")
    return figures | {
        "pingpong_ratio": ratio(taken, "blocking", "pingpong"),
        "program_ratio": ratio(taken, "program", "pingpong"),
        "thread_speedup": ratio(crowd, "threads", "callers"),
        "trace_overhead": _trace_overhead(rounds),
    }


def _trace_overhead(rounds: int) -> float:
    """Percent that the trace adds to a call; its ring is full, as it is in a kernel that has worked for a while, and
    each round has whole pages of calls in it."""
    with kernel(CONFIG, module="bench.abi.switched") as socket, BlockingLink.connect(str(socket)) as link:
        info: kernel_calls.KernelInfo = link.call(kernel_calls.INFO, kernel_calls.Info())
        run = timed(_no_op(link))

        def switched(number: signal.Signals) -> Timed:
            def side(times: int) -> float:
                os.kill(info.pid, number)
                return run(times)

            return side

        run(Bounds().trace_records_max)
        taken = in_turns(
            {"on": switched(signal.SIGUSR1), "off": switched(signal.SIGUSR2)}, rounds=rounds, unit=2 * PAGE_CALLS
        )
    return 100 * (ratio(taken, "on", "off") - 1)


def _link(stack: ExitStack, config: str) -> BlockingLink:
    socket = stack.enter_context(kernel(CONFIG + config))
    return stack.enter_context(BlockingLink.connect(str(socket)))


def _no_op(link: BlockingLink) -> Callable[[], object]:
    """process.nice of the caller itself, to what it is: needs a right on one process, changes nothing."""
    me: process.ProcessInfo = link.call(process.SELF, process.Self())
    args = process.Nice(pid=me.pid, nice=0)
    return lambda: link.call(process.NICE, args)


@contextmanager
def in_program(link: BlockingLink, folder: Path, *, callers: int) -> Iterator[Timed]:
    """The same call made by a program in its jail, which is told by message how often and tells how long it took."""
    file = folder / f"caller{callers}.py"
    file.write_text(PROGRAM)
    spawned: process.Spawned = link.call(process.SPAWN, process.Spawn(program=f"{file}:caller"))

    def run(times: int) -> float:
        link.call(message.SEND, message.Send(pid=spawned.pid, body=Raw(pack((callers, times)))))
        answer: message.Message = link.call(message.RECEIVE, message.Receive(timeout_s=120))
        return float(unpack(float, answer.body))

    try:
        yield run
    finally:
        link.call(process.KILL, process.Kill(pid=spawned.pid))
        time.sleep(0.05)
