"""`kernos pkg`: packages that bring programs and tools, installed in one command and held to what they were granted."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from userland.cli.failures import DENIED, OK, USAGE, Failure, say
from userland.cli.group import LazyGroup
from userland.cli.lifetime import shown
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import plain, show_rows, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import Column, clean

if TYPE_CHECKING:
    from syscalls.package import Installed

_AT = "userland.cli.commands"
_MAKE, _USE = "Making packages", "Using packages"
COMMANDS = {
    "new": (f"{_AT}.pkg_make:new", "Begin a package of your own", _MAKE),
    "build": (f"{_AT}.pkg_make:build", "Make its wheel", _MAKE),
    "sign": (f"{_AT}.pkg_make:sign", "Sign a wheel", _MAKE),
    "verify": (f"{_AT}.pkg_make:verify", "Check a wheel and its signature, and show what it asks for", _MAKE),
    "key": (f"{_AT}.pkg_key:key", "Keys to sign with, and keys that are believed", _MAKE),
    "install": (f"{_AT}.pkg_install:install", "Install a package, with what you grant it", _USE),
    "upgrade": (f"{_AT}.pkg_install:upgrade", "Put another version in the place of an installed one", _USE),
    "rollback": (f"{_AT}.pkg_install:rollback", "Go back to the version before", _USE),
    "remove": (f"{_AT}.pkg_install:remove", "Remove a package and all that belongs to it", _USE),
    "audit": (f"{_AT}.pkg_audit:audit", "Show what packages used of what they hold", _USE),
    "allow": (f"{_AT}.pkg_audit:allow", "Grant what was kept from a package", _USE),
    "revoke": (f"{_AT}.pkg_audit:revoke", "Take rights from a package", _USE),
    "publisher": (f"{_AT}.pkg_publisher:publisher", "Who published packages, and who is believed no more", _USE),
    "list": (f"{_AT}.pkg:list_", "List what is installed", _USE),
    "show": (f"{_AT}.pkg:show", "Show a package, what it may do and why", _USE),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings=SETTINGS, no_args_is_help=True)
def pkg() -> None:
    """Packages: wheels that bring programs, tools and more, and say what they need and why.

    Nothing of a package is executed when it is installed. Its programs (kernos run PACKAGE:PROGRAM) and tools run in
    the sandbox, with an environment of their own, and can do what you granted and nothing else.
    """


COLUMNS = (
    Column("NAME", lambda r: r.manifest.name),
    Column("VERSION", lambda r: r.manifest.version),
    Column("PROGRAMS", lambda r: ", ".join(sorted(r.manifest.programs)) or "-"),
    Column("TOOLS", lambda r: ", ".join(sorted(r.manifest.tools)) or "-"),
    Column("PARSES", lambda r: ", ".join(k for p in r.manifest.parsers.values() for k in p.suffixes or p.types) or "-"),
    Column("RIGHTS", lambda r: str(len(r.granted)), right=True),
    Column("SIGNED BY", lambda r: r.key[:8] or "nobody"),
    Column("PUBLISHED BY", lambda r: r.publisher or "-", wide=True),
    Column("SINCE", lambda r: shown(r.since), wide=True),
    Column("SHA256", lambda r: r.sha256, wide=True),
)


@click.command("list", context_settings=SETTINGS, epilog="Example: kernos pkg list -o wide")
@lists
@which_kernel
@click.pass_obj
def list_(session: Session, *, output: str, quiet: bool, no_trunc: bool) -> None:
    """List the installed packages."""
    from userland.pkg.store import Store

    rows = Store(folder_of(session)).all()
    show_rows(rows, COLUMNS, name=lambda r: r.manifest.name, output=output, quiet=quiet, whole=no_trunc)


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg show finder")
@click.argument("name")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def show(session: Session, *, name: str, output: str) -> None:
    """Show an installed package: what it brings, what it may do and why."""
    from userland.pkg.store import Store

    record = Store(folder_of(session)).get(name)
    if output != "table":
        show_value(plain(record), output=output)
        return
    write_lines(clean(line) for line in told(record))


def told(record: "Installed") -> list[str]:
    """A package for people."""
    from userland.pkg import words
    from userland.pkg.contents import adds, filled

    manifest = record.manifest
    lines = [f"{manifest.name} {manifest.version}{f': {manifest.summary}' if manifest.summary else ''}"]
    lines += [f"signed by {record.key or 'nobody'}"]
    lines += [f"published by {record.publisher}, and in Sigstore's log"] if record.publisher else []
    lines += adds(manifest)
    asks = filled(manifest, record.values)
    may = tuple(each for each in asks if str(each[1]) in record.granted)
    lines += ["it may", *words.told(words.sentences(may))] if may else ["it may do nothing but compute"]
    kept = tuple(each for each in asks if str(each[1]) in record.refused)
    lines += ["kept from it", *words.told(words.sentences(kept))] if kept else []
    return lines


def folder_of(session: Session) -> Path:
    """The folder of installed packages: of the kernel that answers, else of the one that would be started here. Raises
    Failure for a kernel elsewhere."""
    from syscalls.calls.package import PACKAGES, ListPackages

    session.here("pkg")
    if not session.answers():
        if session.explicit_socket:
            raise Failure(f"no kernel answers at {session.path}: leave --socket out, or start it", USAGE)
        return session.packages
    with session.link() as link:
        return Path(link.call(PACKAGES, ListPackages()).folder)


def tell_kernel(session: Session) -> None:
    """A kernel that runs takes up what has changed: at once, without a restart."""
    from syscalls.calls.package import PACKAGES, ListPackages

    if session.answers():
        with session.link() as link:
            link.call(PACKAGES, ListPackages(look=True))


def values_of(texts: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` of --set; a path is made absolute. Raises Failure."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise Failure(f"--set {text}: write NAME=VALUE", USAGE)
        path = Path(value).expanduser()
        values[name] = str(path.resolve()) if value.startswith(("~", ".", "/")) else value
    return values


def denied(message: str) -> Failure:
    """What was not agreed to."""
    return Failure(message, DENIED)


def report(record: Any, words: str, output: str) -> int:
    """What a command that changed something says: the record for scripts, a sentence for people."""
    if output == "json":
        show_value(plain(record), output=output)
    else:
        say(words)
    return OK
