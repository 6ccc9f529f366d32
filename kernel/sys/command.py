"""The process family, its other half: executables in a jail."""

import fcntl
import os
import shutil
from pathlib import Path

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.process import Process
from kernel.sys.process import add_child, child_account, plan_child
from kernel.trap import Trap
from kernel.workers.command import CommandHost, Streams
from kernel.workers.launch import CommandRequest, Granted, granted_by
from syscalls.calls import command as abi
from syscalls.calls.message import End
from syscalls.calls.process import Nothing, Spawned
from syscalls.errors import Busy, Invalid, IOFailed, PermissionDenied, SyscallError
from syscalls.filepath import plain
from syscalls.rights import Right, uncovered

_OWN = ("/dev", "/proc", "/sys")
"""A command has its own of these, or none."""
_WORDS_MAX = 48 * 1024
_SIZE_MAX = 65535


def exec_(machine: Machine, trap: Trap, args: abi.Exec) -> Spawned:
    parent = trap.process
    _check_words(args)
    plan = plan_child(machine, parent, args)
    granted = _with_layer(parent, _mounts(machine, granted_by(plan.rights)), args.layer)
    streams = Streams(args.stdin, args.stdout, None if args.terminal is not None else args.stderr)
    ends = _ends(machine, parent, streams)
    lock = _lock(args.layer) if args.layer is not None else -1
    try:
        child = add_child(machine, parent, child_account(machine, parent, plan), plan, args)
    except SyscallError:
        _unlock(lock)
        raise
    child.at_end.append(lambda: _unlock(lock))
    for pipe, end in ends:
        machine.pipes.give(parent, pipe, end, child, keep=False)
    terminal = None if args.terminal is None else _size(args.terminal.rows, args.terminal.columns)
    request = CommandRequest(
        pid=child.pid,
        path=args.path,
        argv=args.argv,
        env=args.env,
        cwd=args.cwd or "/tmp",
        granted=granted,
        limits=plan.worker,
        terminal=terminal,
    )
    machine.trace.event("exec", pid=child.pid, path=args.path, granted=",".join(each.path for each in granted))
    machine.executor.start_command(child, request, streams, default_model=machine.devices.default)
    return Spawned(pid=child.pid)


def resize(machine: Machine, trap: Trap, args: abi.Resize) -> Nothing:
    host = machine.processes.get(args.pid).host
    if not isinstance(host, CommandHost):
        raise Invalid(f"process {args.pid} has no terminal")
    host.resize(*_size(args.rows, args.columns))
    return Nothing()


def _check_words(args: abi.Exec) -> None:
    """Raises Invalid (EINVAL)."""
    for what, path in (("path", args.path), ("cwd", args.cwd or "/")):
        if not path.startswith("/"):
            raise Invalid(f"the {what} {path!r} is relative: write it out, as the command sees it")
    texts = (*args.argv, *args.env, *args.env.values(), args.path, args.cwd or "")
    if any("\0" in text for text in texts) or any(not name or "=" in name for name in args.env):
        raise Invalid("a null character, or a variable whose name is empty or has a '=': nothing can be executed so")
    if not args.argv:
        raise Invalid("no words: the first of argv is the command's own name")
    size = sum(len(text.encode("utf-8", "surrogateescape")) + 16 for text in texts)
    if size > _WORDS_MAX:
        raise Invalid(f"words and environment of {size} bytes: at most {_WORDS_MAX}; put the rest into a file")


def _mounts(machine: Machine, granted: tuple[Granted, ...]) -> tuple[Granted, ...]:
    """Raises Invalid (EINVAL) for what no command may see."""
    kernels = [Path(os.path.realpath(path)) for path in (machine.config.socket_file, machine.config.state_folder)]
    for each in granted:
        if any(each.path == own or each.path.startswith(own + "/") for own in _OWN):
            raise Invalid(f"{each.path} cannot be granted to a command: it has its own {each.path.split('/')[1]}")
        real = Path(os.path.realpath(each.path))
        if any(kernel.is_relative_to(real) for kernel in kernels) or real.is_relative_to(kernels[1]):
            raise Invalid(
                f"{each.path} cannot be granted to a command: the kernel's socket or state is in it; grant the folders "
                "that it needs, or move those with --socket and --state"
            )
    return granted


def _with_layer(parent: Process, granted: tuple[Granted, ...], layer: str | None) -> tuple[Granted, ...]:
    """Each writable folder with a layer of its own, number N below `layer`. Raises Invalid (EINVAL), PermissionDenied
    (EPERM) where the caller itself may not write there."""
    if layer is None:
        return granted
    beyond = uncovered((Right(f"file:{plain(layer)}/**", ("read", "write")),), parent.rights)
    if beyond:
        raise PermissionDenied(f"the layer would be written to: process {parent.pid} lacks the right '{beyond[0]}'")
    if os.path.realpath(layer) != layer or not os.path.isdir(layer):
        raise Invalid(f"the layer {layer} is no folder, or has links in its path: make one, and write it out")
    if any(layer == each.path or layer.startswith(each.path + "/") for each in granted):
        raise Invalid(f"the layer {layer} lies in a folder that the command is granted")
    found = []
    for each in granted:
        if not each.writable:
            found.append(each)
        elif not os.path.isdir(each.path):
            raise Invalid(f"{each.path} is a file: only folders can have a layer; grant the one that it is in")
        else:
            found.append(Granted(each.path, True, _made(layer, sum(bool(other.layer) for other in found), each.path)))
    return tuple(found)


def _made(layer: str, number: int, path: str) -> str:
    """The layer of one folder. Beside it stands whose it is, in a file as old as the layer. Raises IOFailed (EIO)."""
    folder = f"{layer}/{number}"
    try:
        for part in (folder, f"{folder}/upper", f"{folder}/work"):
            os.mkdir(part, 0o755)
        shutil.copymode(path, f"{folder}/upper")
        with open(f"{folder}/path", "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(path)
    except OSError as failed:
        raise IOFailed(f"the layer {folder} cannot be made: {failed.strerror}") from None
    return folder


def _ends(machine: Machine, parent: Process, streams: Streams) -> tuple[tuple[int, End], ...]:
    """The ends of pipes that go to the command, which the caller has. Raises NotFound (ENOENT)."""
    ends: list[tuple[int, End]] = []
    if streams.stdin is not None:
        ends.append((streams.stdin, "reader"))
    ends += [(pipe, "writer") for pipe in dict.fromkeys((streams.stdout, streams.stderr)) if pipe is not None]
    for pipe, end in ends:
        machine.pipes.get(parent, pipe, end)
    return tuple(ends)


def _lock(layer: str) -> int:
    """Keeps the layer for one command, and from being applied meanwhile. Raises Busy (EBUSY)."""
    try:
        fd = os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as failed:
        raise IOFailed(f"the layer {layer} cannot be opened: {failed.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise Busy(f"the layer {layer} is another command's, or is being applied: wait for it to end") from None
    return fd


def _unlock(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _size(rows: int, columns: int) -> tuple[int, int]:
    if not (1 <= rows <= _SIZE_MAX and 1 <= columns <= _SIZE_MAX):
        raise Invalid(f"a terminal of {rows} rows and {columns} columns: each is 1 to {_SIZE_MAX}")
    return rows, columns


HANDLERS: dict[int, Handler] = {abi.EXEC.number: exec_, abi.RESIZE.number: resize}
