"""A hostile program as a program of kernos: what a package that means ill would do."""

from typing import Any

from kernos import Sys, program
from tests.escape.guest import attempt


@program
async def hostile(sys: Sys, name: str, stage: dict[str, Any]) -> dict[str, Any]:
    """Tries one of the corpus and returns what came of it."""
    return attempt(name, stage)
