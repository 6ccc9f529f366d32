"""`kernos pkg new`, `build`, `sign` and `verify`: for whoever makes packages."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syscalls.errors import NotFound
from userland.cli.begun import tell
from userland.cli.commands.pkg import folder_of
from userland.cli.failures import ERROR, OK, USAGE, Failure, say
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import plain, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import clean

if TYPE_CHECKING:
    from userland.pkg.environment import Source

_WHEEL = click.argument("wheel", type=click.Path(path_type=Path, dir_okay=False))
_BUILD = "import sys; from userland.pkg.build import build_wheel; sys.stderr.write('\\n' + build_wheel(sys.argv[1]))"


def keys_folder() -> Path:
    """Where this user's keys to sign with lie."""
    from syscalls.paths import config_path

    return config_path().parent / "keys"


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos pkg new word-count            a tool, and a program
  kernos pkg new --parser tables       a parser of documents: csv, to be changed to yours
""",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--parser", is_flag=True, help="With a parser of documents instead of a tool and a program")
@output("table", "json")
def new(*, folder: Path, parser: bool, output: str) -> None:
    """Begin a package in FOLDER, called as the folder: it builds and installs as it is."""
    from userland.skeletons.package import parser_package, tool_package

    made = parser_package(folder) if parser else tool_package(folder)
    tell(made, next_=f"kernos pkg build {folder}", output=output)


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos pkg build word-count/              word-count/dist/word_count-0.1.0-py3-none-any.whl
  kernos pkg build --lock finder/           look up its dependencies, and keep their hashes
""",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("."))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where it goes  [default: FOLDER/dist]",
)
@click.option("--lock", "again", is_flag=True, help="Look up its dependencies anew, and keep their hashes")
@click.option("--find-links", multiple=True, metavar="DIR|URL", help="Where its dependencies lie, too")
@click.option("--no-index", is_flag=True, help="Look them up in --find-links alone")
@output("table", "json")
def build(
    *, folder: Path, out: Path | None, again: bool, find_links: tuple[str, ...], no_index: bool, output: str
) -> None:
    """Make the wheel of the package in FOLDER, its manifest within, by the build backend that it names.

    Dependencies are locked: the manifest names their very wheels, by their hashes, and nothing else is installed with
    the package. They are looked up the first time, and kept in kernos.lock.
    """
    from userland.pkg.environment import Source

    _lock(folder, Source(links=_absolute(find_links), index=not no_index), again=again)
    target = (out or folder / "dist").absolute()
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-P", "-c", _BUILD, str(target)],
        cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    last = done.stderr.strip().rpartition("\n")[2]
    if done.returncode != 0:
        reason = last.rpartition(": ")[0] and last.partition(": ")[2]
        raise Failure(f"{folder} cannot be built: {reason or last or done.stdout[-400:]}", ERROR)
    wheel = target / last
    if output == "json":
        show_value({"wheel": str(wheel)}, output=output)
    else:
        say(f"built {_short(wheel)}; next: kernos pkg sign {_short(wheel)}")


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos pkg sign dist/word_count-0.1.0-py3-none-any.whl
  kernos pkg sign --key release dist/*.whl
""",
)
@_WHEEL
@click.option("--key", "name", default="default", metavar="NAME", help="The key: 'kernos pkg key new NAME' made it")
@output("table", "json")
def sign(*, wheel: Path, name: str, output: str) -> None:
    """Sign WHEEL: a file WHEEL.sig beside it. The first time, a key is made."""
    from userland.pkg import signing
    from userland.pkg.wheel import read_wheel

    place = keys_folder() / f"{name}.pem"
    if name == "default" and not place.exists():
        say(f"made the key {signing.new_key(place)}: keep {place} to yourself")
    secret = signing.load_key(place)
    checked = read_wheel(_there(wheel), called=wheel.name)
    if checked.manifest is None:
        raise Failure(f"{wheel.name} has no manifest, so it is no package of kernos: 'kernos pkg build' makes one")
    beside = wheel.with_name(wheel.name + signing.SUFFIX)
    beside.write_bytes(signing.sign(checked, secret))
    id_ = signing.key_id(secret.public_key().public_bytes_raw())
    if output == "json":
        show_value({"signature": str(beside), "key": id_}, output=output)
    else:
        say(f"signed by {id_}: give {beside.name} along with the wheel; next: kernos pkg install {_short(wheel)}")


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg verify finder-1.0-py3-none-any.whl")
@_WHEEL
@output("table", "json")
@which_kernel
@click.pass_obj
def verify(session: Session, *, wheel: Path, output: str) -> int:
    """Check WHEEL as installing it would, and show who signed it and what it asks for. Nothing is installed."""
    from syscalls.package import Manifest
    from userland.pkg import belief, words
    from userland.pkg.contents import adds
    from userland.pkg.store import Store
    from userland.pkg.wheel import read_wheel

    checked = read_wheel(_there(wheel), called=wheel.name)
    if checked.manifest is None:
        raise Failure(f"{wheel.name} has no manifest, so it is no package of kernos: 'kernos pkg build' makes one")
    store = Store(folder_of(session))
    before = store.find(checked.name)
    answers = belief.who_answers(store, wheel, checked, before)
    manifest: Manifest = checked.manifest
    if output == "json":
        who = {"key": answers.key, "trust": answers.trust, "publisher": answers.publisher, "claims": answers.claims}
        show_value({**who, "sha256": checked.sha256, "manifest": plain(manifest)}, output=output)
        return OK
    lines = [f"{manifest.name} {manifest.version}: {manifest.summary}", f"sha256 {checked.sha256}"]
    lines += belief.told(answers, manifest.name, before)
    lines += adds(manifest)
    asks = tuple((ask, ask.shown()) for ask in manifest.rights)
    lines += ["it asks to", *words.told(words.sentences(asks))] if asks else ["it asks for nothing"]
    write_lines(clean(line) for line in lines)
    return OK


def _lock(folder: Path, source: "Source", *, again: bool) -> None:
    """Writes kernos.lock where it has to be."""
    from userland.pkg.build import LOCK, lock_of, read_project
    from userland.pkg.locking import lock, uncovered_by, write_lock

    requirements = tuple(map(str, read_project(folder).get("project", {}).get("dependencies", ())))
    known = lock_of(folder)
    if again or (requirements and not known):
        found = lock(requirements, source=source)
        write_lock(folder / LOCK, found)
        if found:
            say(f"locked {', '.join(f'{each.name} {each.version}' for each in found)} in {folder / LOCK}")
    elif missing := uncovered_by(known, requirements):
        raise Failure(f"{folder / LOCK} has no wheel of {missing[0]}: build it with --lock")


def _absolute(links: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(link if "://" in link else str(Path(link).absolute()) for link in links)


def _there(wheel: Path) -> Path:
    if str(wheel).startswith(("http:/", "https:/")):
        raise Failure("WHEEL is a file here: fetch it first, and its .sig", USAGE)
    if not wheel.is_file():
        raise NotFound(f"{wheel}: no such file")
    return wheel


def _short(path: Path) -> str:
    near = os.path.relpath(path)
    return near if len(near) < len(str(path)) else str(path)
