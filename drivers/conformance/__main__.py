"""The command line of the conformance kit: one line a check, exit status 1 if a promise is not kept."""

import argparse
import sys
from typing import cast

import trio

from drivers.conformance.checks import Verdict, run_checks
from drivers.conformance.rig import Subject
from drivers.conformance.suite import SUITE
from syscalls.driver import Kind
from syscalls.errors import SyscallError


def main(argv: list[str] | None = None) -> int:
    """Tests one driver."""
    parser = argparse.ArgumentParser(prog="python -m drivers.conformance", description="Tests a driver.")
    parser.add_argument("driver", help="its name, or MODULE:ATTRIBUTE")
    parser.add_argument("--kind", choices=sorted(SUITE), required=True)
    parser.add_argument("--origin", default="", help="a folder, a hub name, a URL, a database folder")
    parser.add_argument("--option", "-o", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", action="append", default=[], metavar="CHECK")
    chosen = parser.parse_args(argv)
    options = dict(pair.split("=", 1) for pair in chosen.option)
    kind = cast(Kind, chosen.kind)
    subject = Subject(driver=chosen.driver, kind=kind, origin=chosen.origin, options=options)
    checks = [each for each in SUITE[kind] if not chosen.only or each.name in chosen.only]
    verdicts: list[Verdict] = []
    try:
        verdicts += trio.run(run_checks, subject, checks, _tell)
    except* SyscallError as refused:
        print(f"{chosen.driver}: {refused.exceptions[0]}", file=sys.stderr)
    return int(not verdicts or any(each.outcome == "breached" for each in verdicts))


def _tell(verdict: Verdict) -> None:
    print(f"{verdict.outcome:<13}{verdict.check}{': ' + verdict.detail if verdict.detail else ''}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
