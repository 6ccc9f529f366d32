"""`kernos doctor`: checks this machine and says what to mend."""

from pathlib import Path

import click

from userland.cli.checks import Finding, examine
from userland.cli.failures import ERROR, OK
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import coloured, plain, show_value, write_lines
from userland.cli.session import Session

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos doctor
  kernos doctor -o json | jq '.[] | select(.status != "ok")'
""",
)
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="The state folder to look at"
)
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def doctor(session: Session, *, state: Path | None, output: str) -> int:
    """Check what kernos needs: Python, packages, the layers of the sandbox, disk, the model that ships, the kernel.

    Exit code 1 if something fails; a warning is something that kernos can do without.
    """
    folder = state.absolute() if state else session.state
    findings = []
    for finding in examine(session, folder):
        findings.append(finding)
        if output == "table":
            write_lines(lines_of(finding))
    if output != "table":
        show_value(plain(findings), output=output)
    return ERROR if any(finding.status == "fail" for finding in findings) else OK


def lines_of(finding: Finding) -> list[str]:
    """Status, check, detail; what to do on a line of its own."""
    status = coloured(f"{finding.status:<5}", fg=_COLOURS[finding.status])
    lines = [f"{status} {finding.check:<21} {finding.detail}"]
    if finding.status != "ok" and finding.fix:
        lines.append(f"{'':<28}-> {finding.fix}")
    return lines
