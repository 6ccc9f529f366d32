"""One-line breaks of the code, each of which must turn a named test red: `python -m tests.mutants [--quick] [NAME…]`.

The TOML files of this folder, one a subject, hold them: `file`, `old`, `new`, `test`, and `why`, the invariant that the
break would cost. Each is applied to a copy of the tree. A mutant whose `old` is not found exactly once is an error, and
so is one that survives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PACKAGES = ("kernel", "syscalls", "drivers", "userland", "sandbox", "kernos", "tests", "examples", "bench")
TIMEOUT_S = 180


def main(argv: list[str]) -> int:
    """Runs them all, or with --quick those marked so, or those named. The exit status counts what went wrong."""
    mutants = [m for file in sorted(HERE.glob("*.toml")) for m in tomllib.loads(file.read_text())["mutant"]]
    assert len({m["name"] for m in mutants}) == len(mutants), "a mutant's name stands twice"
    names = [arg for arg in argv if not arg.startswith("-")]
    if set(argv) - {"--quick", *(m["name"] for m in mutants)}:
        print(f"{__doc__}\nNames: {', '.join(m['name'] for m in mutants)}")
        return 2
    chosen = [m for m in mutants if (m["name"] in names if names else "--quick" not in argv or m.get("quick"))]
    killed = 0
    with tempfile.TemporaryDirectory(prefix="kernos-mutants-") as folder:
        tree = Path(folder)
        _copy(tree)
        for mutant in chosen:
            verdict = _try(tree, mutant)
            killed += verdict == "killed"
            print(f"{verdict:10} {mutant['name']}: {mutant['why']}", flush=True)
    print(f"{killed} passed, {len(chosen) - killed} failed")
    return len(chosen) - killed


def _copy(tree: Path) -> None:
    for package in PACKAGES:
        if (ROOT / package).is_dir():
            shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)


def _try(tree: Path, mutant: dict[str, str]) -> str:
    """`killed` if the named test passes before and fails after; else what is wrong with the mutant."""
    path = tree / mutant["file"]
    original = path.read_text()
    if original.count(mutant["old"]) != 1:
        return "NOT FOUND"
    if not _passes(tree, mutant["test"]):
        return "RED BEFORE"
    path.write_text(original.replace(mutant["old"], mutant["new"]))
    try:
        return "SURVIVED" if _passes(tree, mutant["test"]) else "killed"
    finally:
        path.write_text(original)


def _passes(tree: Path, test: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    try:
        done = subprocess.run(
            command, cwd=tree, env=_environment(tree), capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
