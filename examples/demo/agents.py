"""The demo's own programs: one that runs errands with tools, one that tries what it may not, one that never ends."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from kernos import Sys, SyscallError, program, user
from userland.agent import ANSWER_TOKENS_MAX, TOOLS, Toolbox, converse

FILE = str(Path(__file__).resolve())


class Errand(Struct, frozen=True):
    """A request, what came of it, and the tools that the model called for it."""

    request: str
    answer: str
    tools: tuple[str, ...]


class Tried(Struct, frozen=True):
    """Something that is not allowed; `refused` is who said no and how, empty if nobody did."""

    what: str
    refused: str


@program
async def errands(sys: Sys, requests: list[str]) -> list[Errand]:
    """Does one request after the other in one conversation."""
    context = await sys.open(tools=TOOLS, reserve_tokens=ANSWER_TOKENS_MAX)
    tools = Toolbox(sys, context)
    done: list[Errand] = []
    for request in requests:
        await sys.note(request, done=len(done), total=len(requests))
        await context.append(user(request))
        spoken = await converse(context, tools)
        done.append(Errand(request, spoken.text, tuple(step.tool for step in spoken.steps)))
    return done


@program
async def trespasser(sys: Sys, stranger: int) -> list[Tried]:
    """Tries to read a file of the host, to reach the network, and to kill a process that is not its child."""
    tried = [
        _try("open /etc/passwd", lambda: Path("/etc/passwd").read_text()),
        _try("connect to 127.0.0.1", lambda: socket.create_connection(("127.0.0.1", 80), timeout=1).close()),
        _try("fork a process", os.fork),
    ]
    try:
        await sys.call("process.kill", pid=stranger, signal=9)
        tried.append(Tried(f"kill process {stranger}", ""))
    except SyscallError as refused:
        tried.append(Tried(f"kill process {stranger}", f"the kernel: {refused.errno.name}"))
    for number, each in enumerate(tried, 1):
        await sys.note(f"{each.what}: {'refused by ' + each.refused if each.refused else 'nobody refused'}",
                       done=number, total=len(tried))  # fmt: skip
    return tried


@program
async def rambler(sys: Sys) -> None:
    """Talks on and on: only its budget or a signal ends it."""
    rounds = 0
    while True:
        rounds += 1
        await sys.note(f"rambling, round {rounds}")
        await sys.generate(user("Go on."), max_tokens=200, temperature=1.5, seed=rounds)


def _try(what: str, deed: Callable[[], object]) -> Tried:
    """Does it; whatever the operating system answers is kept."""
    try:
        deed()
    except OSError as refused:
        return Tried(what, f"the operating system: {refused.strerror or refused}")
    return Tried(what, "")
