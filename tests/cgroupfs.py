"""A folder of files in the shape of cgroup v2 that behaves as the system's does, as far as groups are made and removed.

What hands controllers down has no processes of its own (but for the root), what has processes or groups below is not
removed, and a process is in one group.
"""

import errno
import os
import shutil
from pathlib import Path

from sandbox.groups import Tree
from sandbox.leaves import CONTROLLERS

_OF = {
    "memory": {
        "memory.max": "max",
        "memory.swap.max": "max",
        "memory.oom.group": "0",
        "memory.events": "oom 0\noom_kill 0",
    },
    "pids": {"pids.max": "max"},
    "cpu": {"cpu.idle": "0"},
}


class Cgroupfs:
    """One hierarchy at `root`, and in it `place`, the group of this process, with `others` in it."""

    def __init__(self, root: Path, *, controllers: tuple[str, ...] = CONTROLLERS, others: int = 0) -> None:
        self.root = root
        self._make(root, controllers)
        self._change(root / "cgroup.subtree_control", [f"+{name}" for name in controllers])
        self.place = str(root / "service")
        self.make(self.place)
        pids = [str(os.getpid()), *(str(each) for each in range(1, 1 + others))]
        (root / "service" / "cgroup.procs").write_text("\n".join(pids))

    @property
    def tree(self) -> Tree:
        return Tree(make=self.make, write=self.write, remove=self.remove)

    def make(self, path: str) -> None:
        folder = Path(path)
        self._make(folder, self.words(folder.parent / "cgroup.subtree_control"))

    def write(self, path: str, value: str) -> None:
        file = Path(path)
        if not file.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if file.name == "cgroup.subtree_control":
            self._change(file, [value])
        elif file.name == "cgroup.procs":
            self._move(file, value)
        elif file.name == "cgroup.kill":
            (file.parent / "cgroup.procs").write_text("")
        else:
            file.write_text(value)

    def remove(self, path: str) -> None:
        folder = Path(path)
        if not folder.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if self.words(folder / "cgroup.procs") or any(each.is_dir() for each in folder.iterdir()):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        shutil.rmtree(folder)

    def words(self, file: Path) -> list[str]:
        return file.read_text().split()

    def below(self) -> list[str]:
        """Every group of a kernel, and each group in it."""
        return sorted(str(each.relative_to(self.place)) for each in Path(self.place).rglob("*") if each.is_dir())

    def _make(self, folder: Path, controllers: list[str] | tuple[str, ...]) -> None:
        folder.mkdir()
        for name in ("cgroup.subtree_control", "cgroup.procs", "cgroup.kill"):
            (folder / name).write_text("")
        self._have(folder, controllers)

    def _have(self, folder: Path, controllers: list[str] | tuple[str, ...]) -> None:
        """What was handed down to a group: their files are there, and no others."""
        (folder / "cgroup.controllers").write_text(" ".join(controllers))
        for controller, files in _OF.items():
            for name, text in files.items():
                if controller not in controllers:
                    (folder / name).unlink(missing_ok=True)
                elif not (folder / name).exists():
                    (folder / name).write_text(text)

    def _change(self, file: Path, changes: list[str]) -> None:
        on = self.words(file)
        for change in changes:
            sign, name = change[0], change[1:]
            if sign == "+" and file.parent != self.root and self.words(file.parent / "cgroup.procs"):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            on = [each for each in on if each != name] + ([name] if sign == "+" else [])
        file.write_text(" ".join(on))
        for below in file.parent.iterdir():
            if below.is_dir():
                self._have(below, on)

    def _move(self, file: Path, pid: str) -> None:
        if file.parent != self.root and self.words(file.parent / "cgroup.subtree_control"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        for each in self.root.rglob("cgroup.procs"):
            each.write_text("\n".join(word for word in self.words(each) if word != pid))
        file.write_text("\n".join([*self.words(file), pid]))
