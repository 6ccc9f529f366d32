"""Boot: a machine with its front door, run until it is told to stop.

`python -m kernel.boot --help` says what it is told on the command line; `kernos up` starts it.
"""

import argparse
import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import trio

from kernel import config as configuration
from kernel.assembly import Running, machine_up
from kernel.config import Config, ModelConfig
from kernel.doors.door import Door
from kernel.doors.gateway import Gateway, bind
from kernel.doors.guest import Guests
from kernel.doors.session import Sessions
from kernel.panic import first
from kernel.power import Switch, stop_programs
from kernel.seal import Seals
from kernel.truth import FILE, Truth
from kernel.watchdog import Interrupter
from kernel.workers.disk import DiskWatch
from kernel.workers.governor import Governor
from kernel.workers.level import choose_launcher
from syscalls.errors import SyscallError

_PR_SET_PDEATHSIG = 1
_FILES_MAX = 65536
_GARBAGE_THRESHOLD = 10_000


async def serve(config: Config, *, ready_fd: int | None = None, parent: int = 0) -> None:
    """A kernel on its socket until SIGINT, SIGTERM, kernel.shutdown or, if one is named, the end of its parent. Raises
    SyscallError if it cannot start."""
    async with trio.open_nursery() as nursery:
        switch = Switch()
        await nursery.start(switch.watch)
        if parent and sys.platform != "linux":  # there the system tells it
            nursery.start_soon(switch.follow, parent)
        await _serve(config, switch, ready_fd)
        nursery.cancel_scope.cancel()


async def _serve(config: Config, switch: Switch, ready_fd: int | None) -> None:
    state = config.state_folder
    truth = Truth.open(state / FILE)
    governor, disk = Governor(), DiskWatch()
    try:
        seals = Seals(state / "keys")
        async with machine_up(
            config,
            truth=truth,
            seals=seals,
            make_launcher=lambda trace: choose_launcher(config, governor, disk, state_folder=state, trace=trace),
            wall=time.time,
            breaker=Interrupter.made(),
        ) as running:
            switch.attach(running.machine)
            await _until_told(running, config, ready_fd, (governor, disk))
    finally:
        truth.close()


async def _until_told(
    running: Running, config: Config, ready_fd: int | None, watches: tuple[Governor, DiskWatch]
) -> None:
    machine = running.machine
    sessions = Sessions(machine, running.gate, running.init)
    door = Door(machine, sessions, Guests(machine, sessions))
    listening = bind(config.listen.address) if config.listen.address else None
    async with trio.open_nursery() as nursery:
        await nursery.start(door.listen, config.socket_file)
        for watch in watches:
            nursery.start_soon(watch.run)
        if listening is not None:
            nursery.start_soon(Gateway(machine, sessions, listening).run)
        _settle_memory()
        _say(ready_fd, "ready\n")
        await machine.power.wait()
        await stop_programs(machine)
        await sessions.farewell()
        nursery.cancel_scope.cancel()


def _settle_memory() -> None:
    """What boot has made stays: it is not looked through for garbage again. And a kernel that holds ten thousand
    processes makes few cycles, so that it is looked for less often than a script's."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, 20, 20)


def _say(ready_fd: int | None, line: str) -> None:
    """Tells whoever started the kernel; nobody may be there any more."""
    if ready_fd is None:
        return
    with contextlib.suppress(OSError):
        os.write(ready_fd, line.encode())
        os.close(ready_fd)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kernel.boot", description="Runs a kernos kernel in the foreground."
    )
    parser.add_argument("--config", type=Path, help="kernos.toml")
    parser.add_argument("--socket", help="where clients connect")
    parser.add_argument("--state", help="the folder of the truth, keys and logs")
    parser.add_argument("--packages", help="the folder of installed packages; default: in the state folder")
    parser.add_argument("--model", help="default model: a folder, a hub name or an http(s) URL")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where clients from elsewhere connect, over TLS 1.3")
    parser.add_argument("--ephemeral", action="store_true", help="end with the parent; keep no state")
    parser.add_argument("--ready-fd", type=int, help="write 'ready' here once calls are answered")
    return parser.parse_args(argv)


def _configured(args: argparse.Namespace) -> Config:
    config = configuration.load(args.config)
    changes: dict[str, object] = {}
    if args.socket:
        changes["socket"] = args.socket
    if args.state:
        changes["state"] = args.state
    if args.packages:
        changes["packages"] = args.packages
    if args.listen:
        changes["listen"] = msgspec.structs.replace(config.listen, address=args.listen)
    if args.model:
        name = args.model.rstrip("/").rpartition("/")[2].replace(":", "-") or "model"
        changes["models"] = {**config.models, name: ModelConfig(origin=args.model)}
        changes["default_model"] = name
    return msgspec.structs.replace(config, **changes)


def _die_with_parent() -> int:
    """By a signal of the system where there is such; elsewhere the machine looks: see Switch.follow."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    return parent


def _boot(args: argparse.Namespace, parent: int = 0) -> int:
    try:
        _raise_limit_of_files()
        config = _configured(args)
        trio.run(lambda: serve(config, ready_fd=args.ready_fd, parent=parent))
    except (SyscallError, configuration.ConfigError) as failed:
        return _failed(args, str(failed))
    except BaseExceptionGroup as group:
        refused, other = group.split(SyscallError)
        if other is not None or refused is None:
            raise
        return _failed(args, str(first(refused)))
    return 0


def _raise_limit_of_files() -> None:
    """Each worker takes a few descriptors, and what a shell allows is soon used up."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _FILES_MAX) if hard > 0 else _FILES_MAX, hard))


def _failed(args: argparse.Namespace, why: str) -> int:
    print(f"kernos: {why}", file=sys.stderr)
    _say(args.ready_fd, f"failed: {why}\n")
    return 125


def main(argv: list[str] | None = None) -> int:
    """Boots and runs; the exit status is 0, or 125 when the kernel could not start."""
    args = _parse(sys.argv[1:] if argv is None else argv)
    if not args.ephemeral:
        return _boot(args)
    parent = _die_with_parent()
    with tempfile.TemporaryDirectory(prefix="kernos-") as folder:
        args.state = args.state or folder
        args.socket = args.socket or f"{folder}/kernel.sock"
        return _boot(args, parent)


if __name__ == "__main__":
    sys.exit(main())
