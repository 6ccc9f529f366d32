"""The register of checks, and how they are run and told of."""

from collections.abc import Awaitable, Callable
from typing import Literal, final

import trio
from msgspec import Struct

from drivers.conformance.rig import HANG_S, Rig, Subject, device
from syscalls.driver import Kind

Run = Callable[[Rig], Awaitable[None]]


class Breach(AssertionError):
    """The driver does not keep to the ABI; the message says where."""


class NotDeclared(Exception):
    """The device does not claim what this check is about."""


@final
class Check(Struct, frozen=True):
    """One check: a promise of the ABI that a device of `kind` keeps."""

    kind: Kind
    name: str
    promise: str
    run: Run


@final
class Verdict(Struct, frozen=True):
    """How a check went; `detail` says what was breached, or why it did not apply."""

    check: str
    outcome: Literal["kept", "breached", "not declared"]
    detail: str = ""


def check(kind: Kind, register: list[Check]) -> Callable[[Run], Run]:
    """Registers a function; its docstring is the promise."""

    def put(run: Run) -> Run:
        name = getattr(run, "__name__", "").replace("_", "-")
        register.append(Check(kind, name, (run.__doc__ or "").strip(), run))
        return run

    return put


def expect(kept: bool, breach: str) -> None:
    """Raises Breach unless `kept`."""
    if not kept:
        raise Breach(breach)


def needs(rig: Rig, ability: str) -> None:
    """Raises NotDeclared where the device does not say it can."""
    if ability not in rig.opened.can:
        raise NotDeclared(f"does not declare {ability!r}")


async def run_checks(
    subject: Subject, checks: list[Check], tell: Callable[[Verdict], None] = lambda verdict: None
) -> list[Verdict]:
    """Runs them one after another on one host; a breach does not end it. Raises the driver's SyscallError if it does
    not open."""
    verdicts: list[Verdict] = []
    async with device(subject) as rig:
        for each in checks:
            verdicts.append(await _run(each, rig))
            tell(verdicts[-1])
    return verdicts


async def _run(each: Check, rig: Rig) -> Verdict:
    try:
        with trio.fail_after(HANG_S):
            await each.run(rig)
    except NotDeclared as missing:
        return Verdict(each.name, "not declared", str(missing))
    except trio.TooSlowError:
        return Verdict(each.name, "breached", f"no end after {HANG_S:g} s")
    except Exception as breach:
        return Verdict(each.name, "breached", f"{type(breach).__name__}: {breach}")
    return Verdict(each.name, "kept")
