"""A call that does nothing, with a right to check, an account and a trace record: against a bare ping-pong, gRPC, a
design with threads, and itself without the trace."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Raw

from bench.abi.pingpong import pingpong
from bench.abi.rpc import grpc_call
from bench.abi.sides import CONFIG, Timed, in_turns, ratio, timed
from bench.abi.threads import thread_calls
from bench.kernelside import kernel
from syscalls.calls import message, process
from syscalls.codec import pack, unpack
from syscalls.link.blocking import BlockingLink

CALLERS = 64
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
TRACE_OFF = '[trace]\nlevel = "off"\n'


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The figures, and what they were made of in microseconds."""
    rounds, times = (11, 400) if quick else (31, 1000)
    with ExitStack() as stack:
        link = _link(stack, "")
        sides: dict[str, Timed] = {
            "pingpong": stack.enter_context(pingpong()),
            "blocking": timed(_no_op(link)),
            "untraced": timed(_no_op(_link(stack, TRACE_OFF))),
            "program": stack.enter_context(in_program(link, folder, callers=1)),
        }
        taken = in_turns(sides, times=times, rounds=rounds)
        many: dict[str, Timed] = {
            "threads": stack.enter_context(thread_calls(CALLERS)),
            "callers": stack.enter_context(in_program(link, folder, callers=CALLERS)),
        }
        crowd = in_turns(many, times=10 * CALLERS if quick else 20 * CALLERS, rounds=rounds)
        grpc = stack.enter_context(grpc_call())
        if grpc is not None:
            taken |= in_turns({"grpc": grpc, "beside": sides["blocking"]}, times=times // 4, rounds=rounds // 2)
    figures = {f"{name}_us": 1e6 * sorted(each)[len(each) // 2] for name, each in (taken | crowd).items()}
    del figures["untraced_us"]
    figures.pop("beside_us", None)
    if grpc is not None:
        figures["grpc_speedup"] = ratio(taken, "grpc", "beside")
    return figures | {
        "pingpong_ratio": ratio(taken, "blocking", "pingpong"),
        "program_ratio": ratio(taken, "program", "pingpong"),
        "thread_speedup": ratio(crowd, "threads", "callers"),
        "trace_overhead": 100 * (ratio(taken, "blocking", "untraced") - 1),
    }


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
