"""`kernos cert`: the kernel's certificate authority, and the certificates of its clients."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from userland.cli.failures import ERROR, Failure, say
from userland.cli.lifetime import shown, until
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import show_rows, show_value
from userland.cli.session import Session
from userland.cli.table import Column

if TYPE_CHECKING:
    from userland.remote.authority import Authority, Client
    from userland.remote.folder import Folder

_STATE = click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="The kernel's state folder"
)


def _standing(client: "Client") -> str:
    if client.revoked:
        return "revoked"
    return "expired" if client.expires <= time.time() else "good"


COLUMNS = (
    Column("NAME", lambda c: c.name),
    Column("STATE", _standing),
    Column("EXPIRES", lambda c: shown(c.expires)),
    Column("RIGHTS", lambda c: "; ".join(c.rights)),
    Column("SERIAL", lambda c: c.serial, wide=True),
)


def folder_of(session: Session, state: Path | None, command: str) -> "Folder":
    """The folder of the kernel of this machine."""
    from userland.remote.folder import Folder

    session.here(command)
    return Folder(state.absolute() if state else session.state)


def _authority(session: Session, state: Path | None) -> "Authority":
    from userland.remote.authority import Authority

    return Authority(folder_of(session, state, "cert"))


@click.group(context_settings=SETTINGS)
def cert() -> None:
    """Certificates by which clients from elsewhere are known.

    They are made and kept in the kernel's state folder, on the kernel's machine; no kernel need run. What is revoked is
    cut off within a second.
    """


@cert.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos cert init                          'kernos up --listen' does it too, where nobody has
  kernos cert init --name gpu.example.org   for clients that check the name with tools of their own
  kernos cert init --again                  a new CA; every certificate of before is void
""",
)
@click.option("--name", "names", multiple=True, metavar="HOST", help="A further name or address of the kernel")
@click.option("--again", is_flag=True, help="Replace the CA there is")
@_STATE
@output("table", "json")
@which_kernel
@click.pass_obj
def init(session: Session, *, names: tuple[str, ...], again: bool, state: Path | None, output: str) -> None:
    """Make the CA and the kernel's own certificate."""
    authority = _authority(session, state)
    authority.init(names, again=again)
    ca = folder_of(session, state, "cert").ca_cert
    if output == "json":
        show_value({"ca": str(ca)}, output=output)
    else:
        say(f"made {ca}; clients need this file to know the kernel, and nothing else of that folder")


@cert.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos cert issue laptop --allow '**'                        all that the operator may
  kernos cert issue ci --allow 'model:* generate' --expires 30d --out ci/
""",
)
@click.argument("name")
@click.option("--allow", multiple=True, metavar="RIGHT", help="What the client may do; may be given again")
@click.option("--expires", default="365d", metavar="TIME", help="How long it is good: 12h, 7d, a date  [default: 365d]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    metavar="DIR",
    help="Where NAME.pem, NAME.key and ca.pem go  [default: .]",
)
@_STATE
@output("table", "json")
@which_kernel
@click.pass_obj
def issue(
    session: Session, *, name: str, allow: tuple[str, ...], expires: str, out: Path, state: Path | None, output: str
) -> None:
    """Make a certificate for the client NAME, who is then the principal NAME."""
    authority = _authority(session, state)
    authority.ensure()
    end = until(expires)
    days = 3650.0 if end is None else (end - time.time()) / 86400
    issued = authority.issue(name, allow, days=days)
    pem, key, ca = out / f"{name}.pem", out / f"{name}.key", out / "ca.pem"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_secret(key, issued.key)
        pem.write_bytes(issued.cert)
        ca.write_bytes(folder_of(session, state, "cert").ca_cert.read_bytes())
    except OSError as failed:
        authority.revoke(name)
        raise Failure(f"{failed.filename}: {failed.strerror}; nothing was issued", ERROR) from None
    if output == "json":
        show_value({"name": name, "cert": str(pem), "key": str(key), "ca": str(ca)}, output=output)
    else:
        say(f"{name} may {', '.join(issued.client.rights)} until {shown(issued.client.expires)}")
        say(f"give it {pem}, {key} and {ca}; in its kernos.toml, under [hosts.…], they are cert, key and ca")


@cert.command(context_settings=SETTINGS, epilog="Example: kernos cert revoke laptop")
@click.argument("name")
@_STATE
@output("table", "json")
@which_kernel
@click.pass_obj
def revoke(session: Session, *, name: str, state: Path | None, output: str) -> None:
    """End the certificates of NAME; connections that hang on them are cut."""
    gone = _authority(session, state).revoke(name)
    if output == "json":
        show_value([client.serial for client in gone], output=output)
    else:
        say(f"the certificate of {name} is revoked")


@cert.command("list", context_settings=SETTINGS, epilog="Example: kernos cert list -o wide")
@_STATE
@lists
@which_kernel
@click.pass_obj
def list_(session: Session, *, state: Path | None, output: str, quiet: bool, no_trunc: bool) -> None:
    """List the certificates that were issued."""
    found = _authority(session, state).clients()
    show_rows(found, COLUMNS, name=lambda c: c.name, output=output, quiet=quiet, whole=no_trunc)


def write_secret(path: Path, data: bytes) -> None:
    """A file for its owner's eyes only, from the first byte on. Raises OSError."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
