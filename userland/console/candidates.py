"""What may stand at a place of a command line: commands, options, pids, models, programs, system calls, files."""

import os
from collections.abc import Callable, Iterator
from typing import final

import click

from syscalls.calls import model, process
from syscalls.errors import SyscallError
from syscalls.signals import Signal
from syscalls.table import BY_NAME
from userland.cli.extensions import commands
from userland.cli.failures import Failure
from userland.cli.main import COMMANDS, cli
from userland.cli.session import Session
from userland.programs.manifest import RIGHTS

Candidate = tuple[str, str]
"""A text, and a few words about it."""
_PIDS = frozenset({"caps", "grant", "revoke", "kill", "nice", "logs", "trace"})


@final
class Candidates:
    """Asks the kernel what there is; without a kernel there is less to complete, and nothing fails."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def for_word(self, words: list[str], word: str) -> list[Candidate]:
        """What may follow `words` and begins with `word`, sorted as it is best read."""
        if words and words[0] == "kernos":
            words = words[1:]
        return [candidate for candidate in self._all(words, word) if candidate[0].startswith(word)]

    def _all(self, words: list[str], word: str) -> Iterator[Candidate]:
        if not words or words == ["help"]:
            yield from ((name, line) for name, (_, line, _) in COMMANDS.items() if name != "console")
            yield from self._extensions()
            if not words:
                yield from (("help", "the commands"), ("exit", "leave"))
            return
        command = _command(words, self._session)
        if command is None:
            return
        option = _waiting_option(command, words[-1])
        if option is not None:
            yield from self._values(option, word)
        elif word.startswith("-"):
            yield from _options(command)
        elif isinstance(command, click.Group):
            ctx = click.Context(command)
            for name in command.list_commands(ctx):
                found = command.get_command(ctx, name)
                yield name, found.get_short_help_str() if found else ""
        else:
            yield from self._arguments(words, word)

    def _extensions(self) -> Iterator[Candidate]:
        if self._session.trusts:
            for name, command in commands(self._session, COMMANDS).items():
                yield name, command.get_short_help_str(80)

    def _arguments(self, words: list[str], word: str) -> Iterator[Candidate]:
        name = words[0]
        if name in _PIDS:
            yield from self._pids()
        elif name == "man":
            yield from ((call, row.doc.partition(". ")[0]) for call, row in BY_NAME.items())
        elif words[:2] == ["model", "show"]:
            yield from self._models()
        elif name == "run" and len(words) == 1:
            yield from ((program, "program") for program in RIGHTS)
            yield from _files(word)
        elif name in ("run", "model"):
            yield from _files(word)

    def _values(self, option: click.Option, word: str) -> Iterator[Candidate]:
        if isinstance(option.type, click.Choice):
            yield from ((str(choice), "") for choice in option.type.choices)
        elif "--model" in option.opts:
            yield from self._models()
            yield from _files(word)
        elif "--signal" in option.opts:
            yield from ((signal.name, str(int(signal))) for signal in Signal)
        elif isinstance(option.type, click.Path):
            yield from _files(word)

    def _pids(self) -> list[Candidate]:
        return self._ask(_running)

    def _models(self) -> list[Candidate]:
        return self._ask(_registered)

    def _ask(self, question: Callable[[Session], list[Candidate]]) -> list[Candidate]:
        try:
            return question(self._session)
        except (SyscallError, Failure):
            return []


def _running(session: Session) -> list[Candidate]:
    with session.link() as link:
        found: process.Processes = link.call(process.LIST, process.ListProcesses())
    return [(str(info.pid), f"{info.name} {info.state}") for info in found.processes]


def _registered(session: Session) -> list[Candidate]:
    with session.link() as link:
        found: model.Models = link.call(model.LIST, model.ListModels())
    return [(info.ref.partition("@")[0], f"{info.ref} {info.state}") for info in found.models]


def _command(words: list[str], session: Session) -> click.Command | None:
    """The command that the words name, a subcommand where one is named."""
    command = cli.get_command(click.Context(cli, obj=session), words[0])
    for word in words[1:]:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word) or command
    return command


def _waiting_option(command: click.Command, last: str) -> click.Option | None:
    """The option whose value is typed now."""
    for param in command.params:
        if isinstance(param, click.Option) and last in param.opts and not param.is_flag:
            return param
    return None


def _options(command: click.Command) -> Iterator[Candidate]:
    for param in command.params:
        if isinstance(param, click.Option):
            yield from ((opt, param.help or "") for opt in param.opts if opt.startswith("--"))
    yield "--help", "what it does"


def _files(word: str) -> Iterator[Candidate]:
    folder, _, start = word.rpartition("/")
    where = os.path.expanduser(folder or ("/" if word.startswith("/") else "."))
    try:
        entries = sorted(os.scandir(where), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(".") or start.startswith("."):
            is_folder = entry.is_dir()
            prefix = word[: len(word) - len(start)]
            yield prefix + entry.name + ("/" if is_folder else ""), "folder" if is_folder else ""
