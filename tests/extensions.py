"""Extensions for tests: a package as pip leaves it, in a folder that is put on the path."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "kernos_test_extension"

CODE = '''
import click
from kernos.hooks import Source, hookimpl


class Shortest:
    name = "shortest"

    def choose(self, waiting):
        return min(waiting, key=lambda claim: (claim.tokens, claim.number)).number


class Broken:
    name = "broken"

    def choose(self, waiting):
        raise RuntimeError("no idea")


class Largest:
    name = "largest"

    def order(self, exchanges):
        return [each.number for each in sorted(exchanges, key=lambda each: -each.tokens)]


class Shelf:
    scheme = "shelf"

    def find(self, origin):
        what = origin.partition(":")[2]
        if what == "none":
            raise ValueError("nothing stands on that shelf")
        return Source("sim", f"sim:{what}", {"window": "900"})


@click.command()
@click.argument("name")
def greet(name):
    """Greets NAME."""
    print(f"good day, {name}")


@hookimpl
def kernos_scheduling_policies():
    return [Shortest(), Broken()]


@hookimpl
def kernos_eviction_policies():
    return [Largest()]


@hookimpl
def kernos_model_sources():
    return [Shelf()]


@hookimpl
def kernos_commands():
    return [greet]
'''


def write_package(folder: Path, *, name: str = "demo", code: str = CODE, module: str = NAME) -> Path:
    """Puts a module with an entry point `name` into `folder`; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kernos.extensions]\n{name} = {module}\n")
    return folder


@contextmanager
def installed_package(folder: Path, *, name: str = "demo", code: str = CODE, module: str = NAME) -> Iterator[None]:
    """As if pip had installed it into this environment, for as long as the block runs."""
    sys.path.insert(0, str(write_package(folder, name=name, code=code, module=module)))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(module, None)
