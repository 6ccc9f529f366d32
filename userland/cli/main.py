"""The entry point of `kernos`: the commands, and how each ends for the shell."""

import os
import sys
from collections.abc import Mapping, Sequence

import click

from syscalls.errors import SyscallError
from userland.cli.failures import ERROR, INTERRUPTED, NO_READER, OK, USAGE, Failure, NoReader, code_of, say
from userland.cli.group import LazyGroup
from userland.cli.options import SETTINGS, which_kernel
from userland.cli.session import Session

_PROGRAMS, _MACHINE, _HELP = "Programs", "The machine", "Help"
_AT = "userland.cli.commands"
COMMANDS = {
    "run": (f"{_AT}.run:run", "Run a program and follow it to its end", _PROGRAMS),
    "exec": (f"{_AT}.exec:exec_", "Run any executable in the sandbox", _PROGRAMS),
    "diff": (f"{_AT}.overlay:diff", "Show what a command changed in its overlay", _PROGRAMS),
    "apply": (f"{_AT}.overlay:apply", "Do to the folder what was done in an overlay", _PROGRAMS),
    "discard": (f"{_AT}.overlay:discard", "Throw an overlay away", _PROGRAMS),
    "ps": (f"{_AT}.ps:ps", "List processes", _PROGRAMS),
    "top": (f"{_AT}.top:top", "Watch processes and the machine", _PROGRAMS),
    "kill": (f"{_AT}.kill:kill", "Send a signal to processes", _PROGRAMS),
    "nice": (f"{_AT}.nice:nice", "Change a process's share of the machine", _PROGRAMS),
    "caps": (f"{_AT}.rights:caps", "List what a process may do", _PROGRAMS),
    "grant": (f"{_AT}.rights:grant", "Give a running process a right", _PROGRAMS),
    "revoke": (f"{_AT}.rights:revoke", "Take rights from a running process", _PROGRAMS),
    "requests": (f"{_AT}.requests:requests", "Rights that programs ask for, and the answers", _PROGRAMS),
    "logs": (f"{_AT}.logs:logs", "Show what a process printed", _PROGRAMS),
    "trace": (f"{_AT}.trace:trace", "Show system calls and events, as strace does", _PROGRAMS),
    "account": (f"{_AT}.account:account", "Show what accounts used and may use, set limits", _MACHINE),
    "log": (f"{_AT}.log:log", "Show the kernel's own log", _MACHINE),
    "events": (f"{_AT}.log:events", "Show what happens: births, ends, hosts, limits", _MACHINE),
    "metrics": (f"{_AT}.metrics:metrics", "Show counters, gauges and histograms", _MACHINE),
    "up": (f"{_AT}.up:up", "Start a kernel", _MACHINE),
    "down": (f"{_AT}.down:down", "Stop the kernel", _MACHINE),
    "model": (f"{_AT}.model:model", "Add, list, load, unload and score models", _MACHINE),
    "context": (f"{_AT}.context:context", "List, show and forget named conversations", _MACHINE),
    "pkg": (f"{_AT}.pkg:pkg", "Build, sign, install and audit packages", _MACHINE),
    "device": (f"{_AT}.device:device", "List devices (models, stores, tools) and call tools", _MACHINE),
    "driver": (f"{_AT}.driver:driver", "Begin, run and test drivers", _MACHINE),
    "console": (f"{_AT}.console:console", "A prompt on the kernel", _MACHINE),
    "cert": (f"{_AT}.cert:cert", "Certificates of clients from elsewhere", _MACHINE),
    "credential": (f"{_AT}.credential:credential", "Signed permissions for clients from elsewhere", _MACHINE),
    "otel": (f"{_AT}.otel:otel", "Export the trace as OpenTelemetry spans", _MACHINE),
    "doctor": (f"{_AT}.doctor:doctor", "Check this machine and say what to mend", _MACHINE),
    "man": (f"{_AT}.man:man", "The manual of the system calls", _HELP),
    "syscalls": (f"{_AT}.man:syscalls", "List the system calls", _HELP),
    "version": (f"{_AT}.version:version", "The versions of the command line and of the kernel", _HELP),
}

_EPILOG = """\b
Examples:
  kernos up -d                    start a kernel in the background
  kernos run hello.py             run a program of yours, sandboxed
  kernos run ask "how?" docs/     ask about a folder of documents
  kernos ps; kernos top           see who runs
  kernos man process.spawn        read about a system call

\b
Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 denied, 5 conflict, 6 no connection,
124 timed out, 125 kernel failed, 128+N ended by signal N.
"""


def _further(ctx: click.Context) -> Mapping[str, click.Command]:
    """The commands of extensions, where the configuration trusts any."""
    session = ctx.ensure_object(Session)
    if not session.trusts:
        return {}
    from userland.cli.extensions import commands

    return commands(session, COMMANDS)


@click.group(
    cls=LazyGroup, lazy=COMMANDS, further=_further, context_settings=SETTINGS, epilog=_EPILOG, no_args_is_help=True
)
@which_kernel
def cli() -> None:
    """kernos runs language-model programs as processes: isolated, scheduled, budgeted, traced, killable."""


def main() -> None:
    """`kernos` itself."""
    code = execute(sys.argv[1:], Session())
    try:
        sys.stdout.flush()
    except OSError:
        code = _mute()
    sys.exit(code)


def execute(words: Sequence[str], session: Session, *, prog: str = "kernos") -> int:
    """Runs one command line; the exit code. Whatever fails is one sentence on stderr."""
    try:
        code = cli.main(args=list(words), prog_name=prog, obj=session, standalone_mode=False)
        return code if isinstance(code, int) else OK
    except Failure as failed:
        say(failed.message)
        return failed.code
    except SyscallError as refused:
        say(refused.message)
        return code_of(refused)
    except click.exceptions.NoArgsIsHelpError as bare:
        print(bare.format_message(), file=sys.stderr)
        return USAGE
    except click.ClickException as misuse:
        return _misused(misuse)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except NoReader:
        return _mute()
    except OSError as failed:  # this machine's: a folder that cannot be written, a disk that is full
        where = f"{failed.filename}: " if failed.filename else ""
        say(f"{where}{failed.strerror or failed}")
        return ERROR


def _misused(misuse: click.ClickException) -> int:
    say(misuse.format_message())
    ctx = misuse.ctx if isinstance(misuse, click.UsageError) else None
    if ctx is not None:
        print(f"Try '{ctx.command_path} --help'.", file=sys.stderr)
    return USAGE if isinstance(misuse, click.UsageError) else ERROR


def _mute() -> int:
    """Nothing more may be said on stdout, not even by the interpreter's last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return NO_READER
