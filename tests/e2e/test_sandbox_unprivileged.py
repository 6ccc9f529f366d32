"""The whole of it once more for a user without privilege, where the suite itself is run by root.

Broken by: a step that only root may take, a bind that only root can make.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

E2E = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: the other sandbox tests are this test already")
@pytest.mark.parametrize(
    "suite",
    [
        *(f"tests/e2e/test_sandbox_{name}.py" for name in ("walls", "zygote", "layers")),
        "tests/escape/test_mediated.py",
        "tests/e2e/test_exec.py",
        "tests/e2e/test_overlay.py",
    ],
)
def test_an_ordinary_user_gets_the_same_jail(suite: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        done = _run_as_nobody(suite, f"{folder}/stage")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def _run_as_nobody(suite: str, folder: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(E2E / "sandbox_guests" / "as_nobody.py"),
        str(E2E.parent.parent / suite),
        f"--basetemp={folder}",
        "-q",
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=E2E.parent.parent, timeout=300, check=False)
