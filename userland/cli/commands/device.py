"""`kernos device`: the device registry."""

import click

from syscalls.calls import device as abi
from userland.cli.options import SETTINGS, lists, which_kernel
from userland.cli.output import show_rows
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
