"""`kernos pkg new`, `build`, `sign` and `verify`: for whoever makes packages."""

import os
import subprocess
import sys
from pathlib import Path

import click

from syscalls.package import EXTENSIONS
from userland.cli.commands.pkg import folder_of
from userland.cli.failures import ERROR, OK, Failure, say
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import plain, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import clean

_WHEEL = click.argument("wheel", type=click.Path(path_type=Path, dir_okay=False))
_BUILD = "import sys; from userland.pkg.build import build_wheel; sys.stderr.write('\\n' + build_wheel(sys.argv[1]))"


def keys_folder() -> Path:
    """Where this user's keys to sign with lie."""
    from syscalls.paths import config_path

    return config_path().parent / "keys"


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg new word-count")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@output("table", "json")
def new(*, folder: Path, output: str) -> None:
    """Begin a package in FOLDER, called as the folder: it builds and installs as it is."""
    from userland.pkg.template import begin

    made = begin(folder)
    if output == "json":
        show_value([str(path) for path in made], output=output)
    else:
        say(f"wrote {', '.join(str(path) for path in made)}; next: kernos pkg build {folder}")


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
@output("table", "json")
def build(*, folder: Path, out: Path | None, output: str) -> None:
    """Make the wheel of the package in FOLDER, its manifest within, by the build backend that it names."""
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
        say(f"signed by {id_}: give {beside.name} along with the wheel")


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg verify finder-1.0-py3-none-any.whl")
@_WHEEL
@output("table", "json")
@which_kernel
@click.pass_obj
def verify(session: Session, *, wheel: Path, output: str) -> int:
    """Check WHEEL as installing it would, and show who signed it and what it asks for. Nothing is installed."""
    from syscalls.package import Manifest
    from userland.pkg import signing, words
    from userland.pkg.keyring import Ring
    from userland.pkg.store import Store
    from userland.pkg.wheel import read_wheel

    checked = read_wheel(_there(wheel), called=wheel.name)
    if checked.manifest is None:
        raise Failure(f"{wheel.name} has no manifest, so it is no package of kernos: 'kernos pkg build' makes one")
    beside = wheel.with_name(wheel.name + signing.SUFFIX)
    key, trust = "", "unsigned"
    if beside.is_file():
        public = signing.verify(checked, beside.read_bytes())
        store = Store(folder_of(session))
        before = store.find(checked.name)
        key = signing.key_id(public)
        trust = Ring(store.folder).check(public, checked.name, signed_before=before.key if before else None)
    manifest: Manifest = checked.manifest
    if output == "json":
        show_value({"key": key, "trust": trust, "sha256": checked.sha256, "manifest": plain(manifest)}, output=output)
        return OK
    lines = [f"{manifest.name} {manifest.version}: {manifest.summary}", f"sha256 {checked.sha256}"]
    lines.append(f"signed by {key}, {trust}" if key else "not signed")
    for kind in ("programs", "tools", "syscalls", *EXTENSIONS):
        lines += [f"{kind}: {', '.join(sorted(getattr(manifest, kind)))}"] if getattr(manifest, kind) else []
    asks = tuple((ask, ask.shown()) for ask in manifest.rights)
    lines += ["it asks to", *words.told(words.sentences(asks))] if asks else ["it asks for nothing"]
    write_lines(clean(line) for line in lines)
    return OK


def _there(wheel: Path) -> Path:
    if not wheel.is_file():
        from syscalls.errors import NotFound

        raise NotFound(f"{wheel}: no such file")
    return wheel


def _short(path: Path) -> str:
    near = os.path.relpath(path)
    return near if len(near) < len(str(path)) else str(path)
