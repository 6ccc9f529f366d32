"""`kernos credential`: signed permissions that their holder can narrow, without asking anybody."""

import getpass
import os
import sys
from pathlib import Path

import click

from syscalls.errors import Invalid
from userland.cli.commands.cert import folder_of, write_secret
from userland.cli.failures import ERROR, Failure, say
from userland.cli.lifetime import shown, until
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import plain, show_value, write_lines
from userland.cli.session import Session

_CHARS_MAX = 64 * 1024
_STATE = click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="The kernel's state folder"
)
_FILE = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
_OUT = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there, mode 0600"
)


@click.group(context_settings=SETTINGS)
def credential() -> None:
    """Credentials by which clients from elsewhere say what they may do.

    A credential is one line of text and a secret: whoever has it may use it, until it expires or is revoked. Commands
    read one from FILE, from stdin (-), or from $KERNOS_CREDENTIAL; never from the command line, which others can see.
    """


@credential.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos credential new --allow 'model:* generate' --expires 7d --out ann.credential
  kernos credential new --allow '**' --expires 12h --principal ann
""",
)
@click.option("--allow", multiple=True, metavar="RIGHT", help="What its holder may do; may be given again")
@click.option("--expires", required=True, metavar="TIME", help="How long it is good: 90s, 12h, 7d, a date, never")
@click.option("--principal", metavar="NAME", help="Whose processes and contexts its holder has  [default: yours]")
@click.option("--audience", metavar="ID", help="The kernel it is for  [default: this one]")
@_OUT
@_STATE
@output("table", "json")
@which_kernel
@click.pass_obj
def new(
    session: Session,
    *,
    allow: tuple[str, ...],
    expires: str,
    principal: str | None,
    audience: str | None,
    out: Path | None,
    state: Path | None,
    output: str,
) -> None:
    """Make a credential, signed by the kernel of this machine."""
    from userland.remote.credential import Issuer

    if not allow:
        raise Invalid("say what it may do: --allow 'model:* generate', or --allow '**' for all that you may")
    issuer = Issuer(folder_of(session, state, "credential new"))
    text = issuer.new(
        principal=principal or getpass.getuser(), rights=allow, expires_s=until(expires), audience=audience
    )
    _hand_out(text, out, output)


@credential.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos credential attenuate ann.credential --allow 'model:sim generate' --expires 1h --out bob.credential
  KERNOS_CREDENTIAL=… kernos credential attenuate --expires 10m
""",
)
@_FILE
@click.option("--allow", multiple=True, metavar="RIGHT", help="What is to be left of it; may be given again")
@click.option("--expires", metavar="TIME", help="An earlier end")
@_OUT
@output("table", "json")
def attenuate(*, file: Path | None, allow: tuple[str, ...], expires: str | None, out: Path | None, output: str) -> None:
    """Narrow a credential. Needs no kernel and no key; what was taken away cannot be got back."""
    from userland.remote import credential as biscuits

    narrower = biscuits.attenuate(_read(file), rights=allow, expires_s=until(expires) if expires else None)
    _hand_out(narrower, out, output)


@credential.command(context_settings=SETTINGS, epilog="Example: kernos credential show ann.credential")
@_FILE
@output("table", "json")
def show(*, file: Path | None, output: str) -> None:
    """Show what a credential says: whose it is, what it allows, for which kernel, until when."""
    from userland.remote import credential as biscuits

    told = biscuits.show(_read(file))
    if output == "json":
        show_value(plain(told), output=output)
        return
    write_lines(
        [
            f"principal  {told.principal}",
            f"allows     {'; '.join(told.rights) or 'nothing'}",
            f"kernel     {told.audience}",
            f"expires    {shown(told.expires_s)}",
            f"narrowed   {_times(told.blocks - 1)}",
            f"id         {told.ids[-1].removeprefix('credential:')}",
        ]
    )


@credential.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos credential revoke ann.credential            it, and all that was narrowed from it
  kernos credential revoke --id 3fa9…                by the id that 'show' prints
""",
)
@_FILE
@click.option("--id", "id_", metavar="ID", help="Instead of the credential itself")
@_STATE
@output("table", "json")
@which_kernel
@click.pass_obj
def revoke(session: Session, *, file: Path | None, id_: str | None, state: Path | None, output: str) -> None:
    """End a credential and what was made from it; connections that hang on it are cut."""
    if id_ is None:
        from userland.remote import credential as biscuits

        last = biscuits.show(_read(file)).ids[-1]
    else:
        last = f"credential:{id_.strip().lower()}"
        if not last.removeprefix("credential:").isalnum():
            raise Invalid(f"{id_!r} is no id: 'kernos credential show' prints it")
    folder_of(session, state, "credential revoke").revoke({last: "the credential was revoked"})
    if output == "json":
        show_value({"revoked": last}, output=output)
    else:
        say("the credential is revoked, and all that was narrowed from it")


def _read(file: Path | None) -> str:
    """The credential's text, from a file, stdin or the environment."""
    given = os.environ.get("KERNOS_CREDENTIAL", "")
    if file is None and given.startswith("kernos1."):
        return given
    if file is None and given:
        file = Path(given)
    if file is None:
        raise Invalid("which credential? Give its FILE, '-' for stdin, or KERNOS_CREDENTIAL")
    try:
        if str(file) == "-":
            return sys.stdin.read(_CHARS_MAX)
        with file.open() as source:
            return source.read(_CHARS_MAX)
    except (OSError, UnicodeDecodeError) as failed:
        raise Invalid(f"{file}: {getattr(failed, 'strerror', None) or 'that is no credential'}") from None


def _hand_out(text: str, out: Path | None, output: str) -> None:
    if out is not None:
        try:
            write_secret(out, text.encode() + b"\n")
        except OSError as failed:
            raise Failure(f"{out}: {failed.strerror}", ERROR) from None
    if output == "json":
        show_value({"file": str(out)} if out else {"credential": text}, output=output)
    elif out is not None:
        say(f"wrote {out}")
    else:
        write_lines([text])


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")
