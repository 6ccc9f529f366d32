"""`kernos pkg key`: keys to sign packages with, and the ring of keys that are believed."""

import click

from userland.cli.commands.pkg import folder_of, report
from userland.cli.commands.pkg_make import keys_folder
from userland.cli.failures import USAGE, Failure, say
from userland.cli.lifetime import shown
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import show_rows, show_value
from userland.cli.session import Session
from userland.cli.table import Column

COLUMNS = (
    Column("KEY", lambda k: k.id),
    Column("STATE", lambda k: k.state),
    Column("FOR", lambda k: ", ".join(k.packages) or ("any package" if k.state == "trusted" else "-")),
    Column("LABEL", lambda k: k.label or "-"),
    Column("SINCE", lambda k: shown(k.since)),
    Column("WHY", lambda k: k.why or "-", wide=True),
)


@click.group(context_settings=SETTINGS, no_args_is_help=True)
def key() -> None:
    """Keys to sign with are files of yours; the ring says whose signatures are believed, for which packages.

    A key that signs a package that you install is believed for that package from then on. One that you trust by name
    is believed at once; one that is revoked never again.
    """


@key.command(context_settings=SETTINGS, epilog="Example: kernos pkg key new release")
@click.argument("name", default="default")
@output("table", "json")
def new(*, name: str, output: str) -> None:
    """Make a key to sign with."""
    from userland.pkg.signing import load_key, new_key

    if not name.replace("-", "").replace("_", "").isalnum():
        raise Failure(f"{name!r}: letters, digits, '-' and '_'", USAGE)
    place = keys_folder() / f"{name}.pem"
    id_ = new_key(place)
    public = load_key(place).public_key().public_bytes_raw().hex()
    if output == "json":
        show_value({"key": id_, "public": public, "file": str(place)}, output=output)
    else:
        say(f"made the key {id_}: keep {place} to yourself")
        say(f"who wants to trust it beforehand: kernos pkg key trust {public}")


@key.command("list", context_settings=SETTINGS, epilog="Example: kernos pkg key list")
@lists
@which_kernel
@click.pass_obj
def list_(session: Session, *, output: str, quiet: bool, no_trunc: bool) -> None:
    """List the keys of the ring."""
    from userland.pkg.keyring import Ring

    rows = Ring(folder_of(session)).all()
    show_rows(rows, COLUMNS, name=lambda k: k.id, output=output, quiet=quiet, whole=no_trunc)


@key.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos pkg key trust 5f0c… --label ann                 a public key: for all packages
  kernos pkg key trust 3b1e9d2a --for finder             a key by its id: for one package
""",
)
@click.argument("which")
@click.option("--for", "packages", multiple=True, metavar="PACKAGE", help="Only for this package; may be given again")
@click.option("--label", default="", metavar="TEXT", help="Whose it is")
@output("table", "json")
@which_kernel
@click.pass_obj
def trust(session: Session, *, which: str, packages: tuple[str, ...], label: str, output: str) -> int:
    """Believe signatures by a key: a public key (64 hex digits), or one by its id."""
    import base64

    from syscalls.package import normal_name
    from userland.pkg.keyring import Ring
    from userland.pkg.signing import key_id
    from userland.pkg.store import Store

    id_, public = which, ""
    if len(which) == 64:
        try:
            raw = bytes.fromhex(which)
        except ValueError:
            raise Failure(f"{which!r} is no public key: 64 hex digits", USAGE) from None
        id_, public = key_id(raw), base64.b64encode(raw).decode()
    folder = folder_of(session)
    ring = Ring(folder)
    if not public and ring.find(id_) is None and len(id_) != 32:
        raise Failure(f"no key {which} in the ring: give its whole id (32 hex digits) or its public key (64)", USAGE)
    with Store(folder).locked():
        found = ring.trust(id_, public, label=label, packages=tuple(map(normal_name, packages)))
    return report(found, f"signatures by {found.id} are believed for {', '.join(packages) or 'any package'}", output)


@key.command(context_settings=SETTINGS, epilog="Example: kernos pkg key revoke 3b1e9d2a --why 'it was stolen'")
@click.argument("which")
@click.option("--why", default="", metavar="TEXT", help="The reason, shown whenever it is met again")
@output("table", "json")
@which_kernel
@click.pass_obj
def revoke(session: Session, *, which: str, why: str, output: str) -> int:
    """Never believe a key again. What it signed and is installed is named; removing that is your choice."""
    from userland.pkg.keyring import Ring
    from userland.pkg.store import Store

    folder = folder_of(session)
    with Store(folder).locked():
        found = Ring(folder).revoke(which, why)
    for record in Store(folder).all():
        if record.key == found.id:
            say(f"{record.manifest.name} is signed by it: 'kernos pkg remove {record.manifest.name}' takes it away")
    return report(found, f"key {found.id} is revoked", output)


@key.command(context_settings=SETTINGS, epilog="Example: kernos pkg key forget 3b1e9d2a")
@click.argument("which")
@output("table", "json")
@which_kernel
@click.pass_obj
def forget(session: Session, *, which: str, output: str) -> int:
    """Take a key out of the ring, as if it had never been met."""
    from userland.pkg.keyring import Ring
    from userland.pkg.store import Store

    folder = folder_of(session)
    with Store(folder).locked():
        found = Ring(folder).drop(which)
    return report(found, f"key {found.id} is forgotten", output)
