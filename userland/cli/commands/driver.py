"""`kernos driver`: for those who write drivers. Each runs in a host of its own, here as in a kernel; none is needed."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import click

from userland.cli.begun import tell
from userland.cli.failures import NOT_FOUND, Failure, refuse
from userland.cli.options import SETTINGS, output
from userland.skeletons.driver import Kind, driver_package

_DRIVER = click.argument("driver", metavar="FOLDER|NAME|MODULE:NAME")
_KIND = click.option("--kind", type=click.Choice(("model", "embedding", "store")), help="Which of what it serves")
_ORIGIN = click.option("--origin", metavar="TEXT", help="What it is to open: a folder, a URL, a name")
_OPTIONS = click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="For the driver; as in model add"
)


@click.group(context_settings=SETTINGS)
def driver() -> None:
    """Begin, try and test drivers: models, embeddings and stores in hosts of their own."""


@driver.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos driver new my-store --kind store
  kernos driver test my-store/
""",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--kind", type=click.Choice(("model", "embedding", "store")), required=True, help="What it serves")
@output("table", "json")
def new(*, folder: Path, kind: Kind, output: str) -> None:
    """Begin a driver package in FOLDER, called as the folder: it keeps to the ABI as it is, and has a test that says
    so."""
    tell(driver_package(folder, kind), next_=f"kernos driver test {folder}", output=output)


@driver.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos driver run my-model/                       a line is what you say
  kernos driver run sim --kind model --origin sim:
  echo "three ships" | kernos driver run my-embedding/
""",
)
@_DRIVER
@_KIND
@_ORIGIN
@_OPTIONS
def run(*, driver: str, kind: Kind | None, origin: str | None, options: tuple[str, ...]) -> int:
    """Start the host of one driver by itself and talk to its device, line by line, until the end of input."""
    return _python("drivers.talk", driver, kind, origin or "", options)


@driver.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos driver test my-store/                      every check of the ABI, a verdict a line
  kernos driver test my-store/ --only finds-what-was-added
  kernos driver test openai --kind model --origin http://localhost:8000/v1
""",
)
@_DRIVER
@_KIND
@_ORIGIN
@_OPTIONS
@click.option("--only", multiple=True, metavar="CHECK", help="Only this check; may be given again")
@output("table", "json")
def test(
    *, driver: str, kind: Kind | None, origin: str | None, options: tuple[str, ...], only: tuple[str, ...], output: str
) -> int:
    """Hold a driver to every promise of the ABI that its devices make: kept, breached, or not declared. The exit code
    is 1 where one is breached."""
    told = ("--json",) if output == "json" else ()
    return _python("drivers.conformance", driver, kind, origin, options, *(f"--only={each}" for each in only), *told)


def _python(
    module: str, driver: str, kind: Kind | None, origin: str | None, options: tuple[str, ...], *more: str
) -> int:
    """Runs a module of `drivers`, which clients do not import, with the driver's folder on its path."""
    name, folder = _found(driver)
    words = [sys.executable, "-P", "-m", module, name, *more]
    words += [f"--kind={kind}"] if kind else []
    words += [f"--origin={origin}"] if origin is not None else []
    words += [f"--option={option}" for option in options]
    paths = [path for path in (folder, os.environ.get("PYTHONPATH", "")) if path]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _found(driver: str) -> tuple[str, str]:
    """What a folder's package calls its driver, as MODULE:NAME, and where its modules lie; other names as they are."""
    folder = Path(driver)
    if not folder.is_dir():
        if "/" in driver:
            raise Failure(f"{driver}: no such folder", NOT_FOUND)
        return driver, ""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text())
    except FileNotFoundError:
        raise Failure(f"{folder} has no pyproject.toml: 'kernos driver new' writes one", NOT_FOUND) from None
    except (OSError, ValueError) as bad:
        raise Failure(f"{folder / 'pyproject.toml'}: {bad}", NOT_FOUND) from None
    named = project.get("tool", {}).get("kernos", {}).get("drivers") or {}
    named = named or project.get("project", {}).get("entry-points", {}).get("kernos.drivers", {})
    if len(named) != 1:
        there = ", ".join(f"{name} ({ref})" for name, ref in named.items()) or "none"
        refuse(f"{folder} has not one driver: {there}; name it as MODULE:NAME, with PYTHONPATH={folder}")
    (reference,) = named.values()
    source = folder / "src"
    return (reference if ":" in reference else f"{reference}:"), str((source if source.is_dir() else folder).resolve())
