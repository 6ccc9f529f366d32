"""A hostile program as a program of kernos: what a package that means ill would do."""

import importlib
import importlib.util
from typing import Any

from kernos import Sys, program
from tests.escape.guest import attempt


@program
async def hostile(sys: Sys, name: str, stage: dict[str, Any]) -> dict[str, Any]:
    """Tries one of the corpus and returns what came of it."""
    return attempt(name, stage)


@program
async def persistent(sys: Sys, name: str, stage: dict[str, Any]) -> None:
    """Tries one again and again for as long as it lives; one that abuses what it has needs to be told once."""
    if importlib.util.find_spec(f"tests.escape.abuse.{name}") is not None:
        await abuser(sys, name)
    while True:
        attempt(name, stage)


@program
async def abuser(sys: Sys, name: str) -> Any:
    """Does what one of tests/escape/abuse does."""
    return await importlib.import_module(f"tests.escape.abuse.{name}").abuse(sys)


@program
async def owns(sys: Sys) -> None:
    """Has what others have no business with, and waits."""
    await sys.open()
    await sys.receive()
