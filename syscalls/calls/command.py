"""Executables in any language, in a jail: of the process family, and of the device family their terminals."""

from typing import Annotated, final

from syscalls.calls.process import Budget, Nothing, Spawned
from syscalls.errors import Errno
from syscalls.row import MANY, Args, Flag, Needs, Row, Says
from syscalls.worker_limits import WorkerLimits


@final
class Terminal(Args, frozen=True, kw_only=True):
    """The size of a terminal."""

    rows: int
    columns: int


@final
class Exec(Args, frozen=True, kw_only=True):
    """Which executable, and what it may do.

    `path` is absolute, as the command sees it: the host's system folders are there, and what its rights show.
    `argv` are its words, its own name first. `env` is its environment; PATH, HOME, LANG and what names the kernel
    (`OPENAI_BASE_URL`, `OPENAI_API_KEY`, `KERNOS_MCP_URL`) are added. `cwd` None is /tmp.

    `rights`, `budget`, `limits`, `nice`, `model`, `name` and `detach` are as in Spawn; limits are of each of its OS
    processes. A right `file:/folder/** read` mounts that
    folder at the same place, read-only; `read,write` writable. With `layer`, an empty folder of the host that the
    caller may write, what the command changes in writable folders is kept there, and the folders stay as they are.

    `stdin` is a pipe of which the caller has the reader's end, `stdout` and `stderr` ones of which it has the
    writer's: they become the command's. Without `stdin` there is nothing to read, without the others its output is
    its log. With `terminal` all three are one terminal of its own, and `stderr` is not used.
    """

    path: str
    argv: Annotated[tuple[str, ...], MANY]
    env: Annotated[dict[str, str], MANY] = {}
    cwd: str | None = None
    name: str | None = None
    rights: Annotated[tuple[str, ...], MANY] | None = None
    budget: Budget | None = None
    limits: WorkerLimits | None = None
    nice: int = 0
    model: str | None = None
    detach: bool = False
    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    terminal: Terminal | None = None
    layer: str | None = None


@final
class Resize(Args, frozen=True, kw_only=True):
    """The terminal of `pid` has another size now."""

    pid: int
    rows: int
    columns: int


EXEC = Row(
    0x0A,
    "process.exec",
    Exec,
    Spawned,
    Needs("exec", "command:{path}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Starts an executable in a jail as a child of the caller, with no more rights and no larger limits than the "
    "caller's. It finds the kernel as an OpenAI-compatible server and an MCP server on its loopback; what it asks of "
    "them are its own system calls.",
    says=Says(
        cancelled="It is answered at once, before anything was executed; what is wrong with the executable is its "
        "exit: 127 where it is not there, 126 where it cannot be executed.",
        costs="Nothing by itself; what it asks of the kernel is charged to an account below the caller's.",
        errors=(
            (Errno.ENOENT, "no such model, or no such pipe of the caller's."),
            (Errno.EPERM, "a right is asked for that the caller lacks; the message names it."),
            (
                Errno.EINVAL,
                "a path that is not absolute, words that are too long, a right that is none, or one to a folder that "
                "cannot be mounted: /dev, /proc, /sys, or one with the kernel's socket or state in it.",
            ),
            (Errno.EBUSY, "the layer is another command's."),
            (Errno.EAGAIN, "the process table is full (bounds.processes_max)."),
            (Errno.EQUOTA, "the account of the caller, or one above it, may have no more processes."),
            (Errno.EIO, "the layer cannot be opened, or nothing can be made in it."),
        ),
    ),
)
RESIZE = Row(
    0x45,
    "device.resize",
    Resize,
    Nothing,
    Needs("resize", "process:{pid}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Tells a command's terminal its new size.",
    says=Says(
        errors=(
            (Errno.ESRCH, "there is no such process."),
            (Errno.EINVAL, "it has no terminal, or a size outside 1 to 65535."),
        ),
    ),
)

ROWS = (EXEC, RESIZE)
