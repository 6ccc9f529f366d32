"""Some of the corpus, at least two programs for each layer, as an ordinary user; `make escape` runs all of it so.

Broken by: a layer that only root can put up, or that holds only root.
"""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from sandbox.spec import FOUNDATIONS
from tests.escape.test_corpus import ALL, program, removable

ROOT = Path(__file__).parents[2]
AS_NOBODY = ROOT / "tests" / "e2e" / "sandbox_guests" / "as_nobody.py"
EACH = 2


def chosen() -> list[str]:
    """The first that an ordinary user can get through, by layer."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in ALL:
        if removable(name) and not getattr(program(name), "NEEDS_ROOT", False):
            for layer in program(name).REFUSED_BY:
                found[layer].append(name)
    assert {"root", "landlock", "seccomp", "net", "pid", "ipc", "uts", "limits"} <= set(found) - FOUNDATIONS
    return sorted({name for names in found.values() for name in names[:EACH]})


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: the corpus itself is run as this user")
def test_an_ordinary_user_is_walled_in_as_well() -> None:
    command = [sys.executable, str(AS_NOBODY), str(ROOT / "tests" / "escape" / "test_corpus.py"), "-q"]
    only = {**os.environ, "ESCAPE_ONLY": ",".join(chosen())}
    done = subprocess.run(command, cwd=ROOT, env=only, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
