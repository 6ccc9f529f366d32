"""`kernos device`: the device registry, and calls of tools."""

import json
from typing import Any

import click
from msgspec import Raw

from syscalls.calls import device as abi
from syscalls.codec import pack
from syscalls.worker_limits import CallLimits, parse_call_limits
from userland.cli.failures import refuse
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import json_line, show_rows, write_lines
from userland.cli.session import Session
from userland.cli.table import Column
from userland.cli.values import of_total

COLUMNS = (
    Column("DEVICE", lambda d: d.name),
    Column("KIND", lambda d: d.kind),
    Column("DRIVER", lambda d: d.driver),
    Column("STATE", lambda d: d.state),
    Column("BUSY", lambda d: of_total(d.busy, d.slots) if d.busy or d.slots else "-", right=True),
    Column("RESTARTS", lambda d: str(d.restarts), right=True),
    Column("HOST", lambda d: str(d.host) if d.host else "-", right=True),
    Column("DETAIL", lambda d: d.detail or ", ".join(method.name for method in d.methods)),
)


@click.group(context_settings=SETTINGS)
def device() -> None:
    """Devices: what drivers and plugins serve."""


@device.command(
    "list",
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos device list
  kernos device list --kind tool -o json
""",
)
@click.option("--kind", type=click.Choice(("model", "embedding", "store", "tool")), help="Only of this kind")
@lists
@which_kernel
@click.pass_obj
def list_(session: Session, *, kind: abi.DeviceKind | None, output: str, quiet: bool, no_trunc: bool) -> None:
    """List devices, their state and the host process that serves them."""
    with session.link() as link:
        found: abi.Devices = link.call(abi.LIST, abi.ListDevices(kind=kind))
    show_rows(found.devices, COLUMNS, name=lambda d: d.name, output=output, quiet=quiet, whole=no_trunc)


@device.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos device call calculator calculate expression="6 * 7"
  kernos device call glossary lookup term=page -o json
""",
)
@click.argument("name", metavar="DEVICE")
@click.argument("method")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Give up after so long")
@click.option(
    "--limit",
    "limits",
    metavar="LIMIT=AMOUNT,…",
    help="Limits of the call, as in cpu=2s,memory=256m,wall=10s,answer=1m",
)
@output("table", "json")
@which_kernel
@click.pass_obj
def call(
    session: Session,
    *,
    name: str,
    method: str,
    arguments: tuple[str, ...],
    timeout_s: float | None,
    limits: str | None,
    output: str,
) -> None:
    """Call METHOD of the tool DEVICE and print what it returns, or each thing that it yields as it comes.

    A VALUE is JSON where it can be read so, else text. With -o json each thing is a line of JSON. A call that runs over
    one of its limits is ended, and nothing else with it."""
    args = abi.CallTool(
        device=name,
        method=method,
        arguments=Raw(pack(_named(arguments))),
        timeout_s=timeout_s,
        limits=None if limits is None else _limits(limits),
    )
    with session.link() as link:
        for item in link.stream(abi.STREAM, args):
            write_lines([item.text if output == "table" else json_line(item.value)])


def _limits(text: str) -> CallLimits:
    try:
        return parse_call_limits(text)
    except ValueError as bad:
        raise click.BadParameter(str(bad), param_hint="--limit") from None


def _named(arguments: tuple[str, ...]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not key or not equals:
            refuse(f"{argument!r}: write KEY=VALUE")
        try:
            named[key] = json.loads(value)
        except ValueError:
            named[key] = value
    return named
