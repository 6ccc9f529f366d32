"""Commands of extensions that the user trusts: `kernos NAME`, and the same in the console.

They run in the command line's own process with all that its user may do, so they are loaded only by a word of the
user's own: `trust` in kernos.toml, or `kernos pkg install --trust`.
"""

import tomllib
from collections.abc import Container, Mapping
from pathlib import Path

import click

from syscalls.errors import Invalid
from userland.cli.failures import USAGE, Failure
from userland.cli.session import Session


def commands(session: Session, own: Container[str]) -> Mapping[str, click.Command]:
    """By name; imported when they are first asked for. Raises Invalid, NotFound or Failure where one that is trusted
    cannot be loaded, or would stand in for a command of `own` or another's."""
    if session.further is None:
        session.further = _loaded(session, own)
    return session.further


def _loaded(session: Session, own: Container[str]) -> dict[str, click.Command]:
    from syscalls.extensions import Trusted, load, named, of_package
    from userland.pkg.store import Store

    trusted: list[Trusted] = []
    if session.config_file is not None:
        trusted += named(_trusted(session.config_file), f"'trust' in {session.config_file}")
    store = Store(session.packages)
    for record in store.all():
        trusted += of_package(record, str(store.site(record)), "commands")
    found: dict[str, click.Command] = {}
    for each in load(trusted):
        for command in each.call("kernos_commands"):
            if not isinstance(command, click.Command) or not command.name:
                raise Invalid(f"{each.extension}: a command is a click.Command with a name")
            if command.name in own or command.name in found:
                raise Invalid(f"{each.extension}: there is a command {command.name!r} already: give it another name")
            found[command.name] = command
    return found


def _trusted(config: Path) -> list[str]:
    try:
        names = tomllib.loads(config.read_text()).get("trust", [])
    except (OSError, ValueError) as bad:
        raise Failure(f"{config}: {bad}", USAGE) from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Failure(f"{config}: trust is a list of names of extensions", USAGE)
    return names
