"""One-line breaks of the code, each of which must turn a named test red: `python -m tests.mutants [--quick] [NAME…]`.

The TOML files of this folder, one a subject, hold them: `file`, `old`, `new`, `test`, and `why`, the invariant that the
break would cost. Each is applied to a copy of the tree. A mutant whose `old` is not found exactly once is an error, and
so is one that survives.
"""

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PACKAGES = ("kernel", "syscalls", "drivers", "userland", "sandbox", "kernos", "tests", "examples", "bench")
TIMEOUT_S = 180.0
PATIENCE, PATIENCE_S = 5.0, 20.0
"""How much longer than the green run a broken one may take: what hangs is found out as well."""
LANES = max(1, min(4, os.cpu_count() or 1))


def main(argv: list[str]) -> int:
    """Runs them all, or with --quick those marked so, or those named. The exit status counts what went wrong."""
    mutants = [m for file in sorted(HERE.glob("*.toml")) for m in tomllib.loads(file.read_text())["mutant"]]
    assert len({m["name"] for m in mutants}) == len(mutants), "a mutant's name stands twice"
    names = [arg for arg in argv if not arg.startswith("-")]
    if set(argv) - {"--quick", *(m["name"] for m in mutants)}:
        print(f"{__doc__}\nNames: {', '.join(m['name'] for m in mutants)}")
        return 2
    chosen = [m for m in mutants if (m["name"] in names if names else "--quick" not in argv or m.get("quick"))]
    lanes: queue.SimpleQueue[Lane] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="kernos-mutants-") as folder:
        for lane in range(LANES):
            lanes.put(Lane(Path(folder) / str(lane)))
        with ThreadPoolExecutor(LANES) as pool:
            verdicts = list(pool.map(lambda mutant: _report(mutant, lanes), chosen))
    killed = verdicts.count("killed")
    print(f"{killed} passed, {len(chosen) - killed} failed")
    return len(chosen) - killed


def _report(mutant: dict[str, str], lanes: "queue.SimpleQueue[Lane]") -> str:
    lane = lanes.get()
    try:
        verdict = lane.verdict(mutant)
    finally:
        lanes.put(lane)
    print(f"{verdict:10} {mutant['name']}: {mutant['why']}", flush=True)
    return verdict


class Lane:
    """A copy of the tree in which one mutant at a time is tried."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._green: dict[str, float | None] = {}
        """Seconds that each test took on the tree as it is; None if it was red."""
        for package in PACKAGES:
            if (ROOT / package).is_dir():
                shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)

    def verdict(self, mutant: dict[str, str]) -> str:
        """`killed` if the named test passes before and fails after; else what is wrong with the mutant."""
        path = self._tree / mutant["file"]
        original = path.read_text()
        if original.count(mutant["old"]) != 1:
            return "NOT FOUND"
        if mutant["test"] not in self._green:
            began = time.monotonic()
            passes = self._passes(mutant["test"], TIMEOUT_S)
            self._green[mutant["test"]] = time.monotonic() - began if passes else None
        if (took := self._green[mutant["test"]]) is None:
            return "RED BEFORE"
        self._write(path, original.replace(mutant["old"], mutant["new"]))
        try:
            return "SURVIVED" if self._passes(mutant["test"], PATIENCE * took + PATIENCE_S) else "killed"
        finally:
            self._write(path, original)

    def _write(self, path: Path, text: str) -> None:
        """Also forgets the compiled form: it is told from the source by whole seconds, and a mutant may take none."""
        path.write_text(text)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()

    def _passes(self, test: str, within_s: float) -> bool:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
        environment = {**os.environ, "PYTHONPATH": str(self._tree), "HYPOTHESIS_PROFILE": "mutants"}
        try:
            done = subprocess.run(
                command, cwd=self._tree, env=environment, capture_output=True, timeout=within_s, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
