"""The console's loop: a line, a command, again; from a terminal or, command by command, from a pipe."""

import shlex
import sys
from collections.abc import Callable

from syscalls.errors import SyscallError
from userland.cli.extensions import commands
from userland.cli.failures import INTERRUPTED, OK, USAGE, say
from userland.cli.main import COMMANDS, execute
from userland.cli.session import Session

_LEAVE = frozenset({"exit", "quit"})
_HELP = """help [COMMAND]      this list, or a command's own help
exit, Ctrl-D        leave; programs that were not detached end with the console
Tab                 completes commands, options, pids, models, programs and files
"""


def converse(chosen: Session) -> int:
    """Reads commands until the end of input or `exit`; the exit code of the last one."""
    session = Session(keep=True)
    if chosen.host:
        session.choose(host=chosen.host, config=chosen.config)
    else:
        session.choose(socket=str(chosen.path) if chosen.explicit else None, config=chosen.config)
    try:
        with session.link():
            pass
    except SyscallError as failed:
        say(f"{failed.message}; or 'up -d' from here")
    try:
        if not sys.stdin.isatty():
            session.typed = False
            return _run_all(session, _piped)
        from userland.console.prompt import reader

        return _run_all(session, reader(session))
    finally:
        session.hang_up()


def _run_all(session: Session, read: Callable[[], str | None]) -> int:
    """Runs what `read` gives until that is None. An empty line does nothing and changes nothing."""
    code = OK
    while True:
        try:
            line = read()
            if line is None:
                return code
            words = split(line)
            if not words:
                continue
            if words[0] in _LEAVE:
                return code
            code = run_words(session, words)
        except KeyboardInterrupt:
            session.hang_up()
            code = INTERRUPTED
        except ValueError as unbalanced:
            say(f"{unbalanced}: close the quotes")
            code = USAGE


def split(line: str) -> list[str]:
    """The words of a line as a shell would see them; `#` begins a comment. Raises ValueError for open quotes."""
    return shlex.split(line, comments=True)


def run_words(session: Session, words: list[str]) -> int:
    """Runs one command inside this OS process; its exit code."""
    if words[0] == "kernos":  # pasted from a shell
        words = words[1:] or ["help"]
    if words[0] == "help":
        return _help(session, words[1:])
    if words[0] == "console":
        say("this is the console already")
        return USAGE
    if words[0] == "up" and not {"-d", "--detach", "-h", "--help"} & set(words):
        words.append("--detach")  # in the foreground it would take the console's place
    return execute(words, session, prog="kernos")


def _help(session: Session, words: list[str]) -> int:
    if words:
        return execute([*words, "--help"], session, prog="kernos")
    for name, (_, line, _) in COMMANDS.items():
        if name != "console":
            print(f"{name:<20}{line}")
    if session.trusts:
        for name, command in commands(session, COMMANDS).items():
            print(f"{name:<20}{command.get_short_help_str(80)}")
    print(_HELP, end="")
    return OK


def _piped() -> str | None:
    """The next line of stdin. Byte-wise buffered by Python: a program that is run reads nothing from here."""
    line = sys.stdin.readline()
    return line if line else None
