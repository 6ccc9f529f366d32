"""`kernos pkg install`, `upgrade`, `rollback` and `remove`: for whoever uses packages."""

import sys
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from userland.cli.asking import can_ask, forget_typed
from userland.cli.commands.pkg import denied, folder_of, report, tell_kernel, values_of
from userland.cli.failures import say
from userland.cli.options import SETTINGS, F, output, which_kernel
from userland.cli.session import Session
from userland.cli.table import clean
from userland.cli.target import checked_right

if TYPE_CHECKING:
    from syscalls.rights import Right
    from userland.pkg.install import Candidate


class _Chosen(TypedDict):
    """What the options of install and upgrade say."""

    wheel: str
    yes: bool
    allow: tuple[str, ...]
    sets: tuple[str, ...]
    unsigned: bool
    trust: bool
    new_publisher: bool
    find_links: tuple[str, ...]
    no_index: bool
    output: str


def _chosen(function: F) -> F:
    """WHEEL and the options that say what of it is taken and granted."""
    options = (
        click.argument("wheel", metavar="WHEEL|URL|NAME"),
        click.option("--yes", "-y", is_flag=True, help="Grant all that it asks for, without asking you"),
        click.option(
            "--allow",
            multiple=True,
            metavar="RIGHT",
            help="Grant what it asks for as far as RIGHT goes; may be given again",
        ),
        click.option(
            "--set",
            "sets",
            multiple=True,
            metavar="NAME=VALUE",
            help="Fill a blank in what it asks for, as in folder=~/docs",
        ),
        click.option("--unsigned", is_flag=True, help="Take a wheel that nobody signed"),
        click.option(
            "--new-publisher", is_flag=True, help="Take one that somebody else published than before, or nobody"
        ),
        click.option("--trust", is_flag=True, help="Take one that brings code to run outside the sandbox, as you"),
        click.option(
            "--find-links", multiple=True, metavar="DIR|URL", help="Where it and its dependencies may lie, too"
        ),
        click.option("--no-index", is_flag=True, help="Fetch from --find-links alone"),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos pkg install finder-1.0-py3-none-any.whl               shows what it asks for, and asks you
  kernos pkg install --set folder=~/docs --yes finder-1.0-py3-none-any.whl
  kernos pkg install --allow 'model:*' word_count-0.1.0-py3-none-any.whl
  kernos pkg install https://example.com/finder-1.0-py3-none-any.whl     with its .sig
  kernos pkg install --find-links /srv/packages finder==1.0
""",
)
@_chosen
@output("table", "json")
@which_kernel
@click.pass_obj
def install(session: Session, **chosen: Unpack[_Chosen]) -> int:
    """Install the package in WHEEL, a file, at an address, or known to an index by NAME, with what you grant of what it
    asks for.

    Nothing of it is executed. On a terminal you are shown what it asks for, and asked once; elsewhere say --yes, or
    --allow what you grant. A kernel that runs has it at once.
    """
    return _put(session, chosen, upgrade=False)


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg upgrade finder-1.1-py3-none-any.whl")
@_chosen
@output("table", "json")
@which_kernel
@click.pass_obj
def upgrade(session: Session, **chosen: Unpack[_Chosen]) -> int:
    """Put the version in WHEEL in the place of the installed one.

    One that asks for no more than was settled takes its place without a question; one that asks for more stops, and
    shows what is more.
    """
    return _put(session, chosen, upgrade=True)


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg rollback finder")
@click.argument("name")
@output("table", "json")
@which_kernel
@click.pass_obj
def rollback(session: Session, *, name: str, output: str) -> int:
    """Go back to the version of NAME before the installed one, and to what that was granted."""
    from userland.pkg.install import roll_back
    from userland.pkg.store import Store

    store = Store(folder_of(session))
    with store.locked():
        record = roll_back(store, name)
    tell_kernel(session)
    return report(record, f"{record.manifest.name} is version {record.manifest.version} again", output)


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg remove finder")
@click.argument("name")
@output("table", "json")
@which_kernel
@click.pass_obj
def remove(session: Session, *, name: str, output: str) -> int:
    """Remove a package: its files, what it was granted, what was counted. What of it runs is ended."""
    from userland.pkg import install as installing
    from userland.pkg.store import Store

    store = Store(folder_of(session))
    with store.locked():
        installing.remove(store, name)
    tell_kernel(session)
    return report({"removed": name}, f"removed {name}", output)


def _put(session: Session, chosen: _Chosen, *, upgrade: bool) -> int:
    from userland.pkg.contents import ways
    from userland.pkg.environment import Source
    from userland.pkg.install import candidate, complete
    from userland.pkg.origin import at_hand
    from userland.pkg.store import Store

    store = Store(folder_of(session))
    values = values_of(chosen["sets"])
    source = Source(links=chosen["find_links"], index=not chosen["no_index"])
    with (
        at_hand(chosen["wheel"], source) as path,
        store.locked(),
        candidate(
            store,
            path,
            values=values,
            unsigned=chosen["unsigned"],
            upgrade=upgrade,
            trust=chosen["trust"],
            new_publisher=chosen["new_publisher"],
        ) as found,
    ):
        granted = _agreed(found, yes=chosen["yes"], allow=chosen["allow"])
        record = complete(store, found, granted=granted, source=source)
    tell_kernel(session)
    manifest = record.manifest
    return report(record, f"installed {manifest.name} {manifest.version}: {ways(manifest)}", chosen["output"])


def _agreed(chosen: "Candidate", *, yes: bool, allow: tuple[str, ...]) -> tuple["Right", ...]:
    """What it is granted: what was granted before, and what is agreed to now of what is more. Raises Failure where
    something that it needs is not."""
    from syscalls.rights import Right, uncovered

    had = tuple(Right.parse(text) for text in chosen.before.granted) if chosen.before else ()
    kept = tuple(right for _, right in chosen.asks if not uncovered((right,), had))
    more = chosen.more
    allowed = tuple(Right.parse(checked_right(text)) for text in allow)
    _explain(chosen)
    if not more:
        return kept
    if yes:
        return (*kept, *(right for _, right in more))
    agreed = tuple(right for _, right in more if not uncovered((right,), allowed))
    missing = [ask for ask, right in more if right not in agreed and not ask.optional]
    if missing and not allow and can_ask():
        return (*kept, *_asked(chosen))
    if missing:
        what = "asks for more than it was granted" if chosen.before else "asks for what nobody granted"
        raise denied(
            f"{chosen.manifest.name} {chosen.manifest.version} {what}: '{missing[0].right}'"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}; grant it with --allow, or all with --yes"
        )
    return (*kept, *agreed)


def _asked(chosen: "Candidate") -> tuple["Right", ...]:
    """What the person at the terminal agrees to. Raises Failure for a no."""
    required = [right for ask, right in chosen.more if not ask.optional]
    some = len(required) < len(chosen.more)
    choice = "[y]es, [o]nly what it needs, [n]o: " if some else "[y]es, [n]o: "
    forget_typed()
    while True:
        print(f"grant this and install it? {choice}", end="", file=sys.stderr, flush=True)
        word = sys.stdin.readline()
        match word.strip().lower():
            case "y" | "yes":
                return tuple(right for _, right in chosen.more)
            case "o" | "only" if some:
                return tuple(required)
            case "n" | "no" | "" if not word or word.strip():
                raise denied(f"{chosen.manifest.name} is not installed")


def _explain(chosen: "Candidate") -> None:
    """Shows who answers for it, what it asks for, and what should make one think."""
    from userland.pkg import belief, words

    manifest = chosen.manifest
    signed, *published = belief.told(chosen.answers, manifest.name, chosen.before)
    say(clean(f"{manifest.name} {manifest.version}, {signed}"))
    for line in published:
        say(clean(line))
    for warning in chosen.warnings:
        say(clean(f"warning: {warning}"))
    told = chosen.told()
    if told:
        say("it asks for more than before, to" if chosen.before else "it asks to")
        for line in words.told(told):
            print(clean(line), file=sys.stderr)
    elif chosen.before is None:
        say("it asks for nothing: it can only compute")
    for ask in chosen.left_out:
        blanks = " ".join(f"--set {name}=…" for name in ask.blanks)
        say(clean(f"left out: {words.words(ask.shown())} ({ask.why}); say {blanks} if you like"))
