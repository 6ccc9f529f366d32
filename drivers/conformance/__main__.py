"""The command line of the conformance kit: one line a check, exit status 1 if a promise is not kept."""

import argparse
import sys
import tempfile
from typing import cast

import msgspec
import trio

from drivers.conformance.checks import Verdict, run_checks
from drivers.conformance.rig import Subject
from drivers.conformance.suite import SUITE
from drivers.loading import load
from syscalls.driver import Kind
from syscalls.errors import SyscallError


def main(argv: list[str] | None = None) -> int:
    """Tests one driver, every kind of device that it serves unless one is named."""
    parser = argparse.ArgumentParser(prog="python -m drivers.conformance", description="Tests a driver.")
    parser.add_argument("driver", help="its name, or MODULE:ATTRIBUTE")
    parser.add_argument("--kind", choices=sorted(SUITE), help="by default every kind that it serves")
    parser.add_argument("--origin", help="a folder, a hub name, a URL, a database folder; by default an empty folder")
    parser.add_argument("--option", "-o", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", action="append", default=[], metavar="CHECK")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each verdict")
    chosen = parser.parse_args(argv)
    tell = _tell_json if chosen.json else _tell
    options = dict(pair.partition("=")[::2] for pair in chosen.option)
    verdicts: list[Verdict] = []
    try:
        kinds = (
            [cast(Kind, chosen.kind)] if chosen.kind else [each for each in load(chosen.driver).kinds if each in SUITE]
        )
        for kind in kinds:
            with tempfile.TemporaryDirectory(prefix="kernos-driver-") as folder:
                origin = folder if chosen.origin is None else chosen.origin
                subject = Subject(driver=chosen.driver, kind=kind, origin=origin, options=options)
                checks = [each for each in SUITE[kind] if not chosen.only or each.name in chosen.only]
                verdicts += trio.run(run_checks, subject, checks, tell)
    except* (SyscallError, ImportError) as refused:
        print(f"{chosen.driver}: {refused.exceptions[0]}", file=sys.stderr)
        verdicts.clear()
    breached = sum(each.outcome == "breached" for each in verdicts)
    if not verdicts:
        return 1
    kept = sum(each.outcome == "kept" for each in verdicts)
    if not chosen.json:
        print(f"{chosen.driver}: {kept} kept, {breached} breached, {len(verdicts) - kept - breached} not declared")
    return int(breached > 0)


def _tell_json(verdict: Verdict) -> None:
    print(msgspec.json.encode(verdict).decode(), flush=True)


def _tell(verdict: Verdict) -> None:
    print(f"{verdict.outcome:<13}{verdict.check}{': ' + verdict.detail if verdict.detail else ''}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
