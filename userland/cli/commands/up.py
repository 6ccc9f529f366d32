"""`kernos up`: starts a kernel."""

from pathlib import Path

import click

from userland.cli.boot import LOG, command, replace_self, start
from userland.cli.commands.model import absolute_origin
from userland.cli.failures import CONFLICT, ERROR, Failure, say
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import show_value
from userland.cli.session import Session, check_length


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos up -d                              in the background, with the model that ships
  kernos up                                 in the foreground, until Ctrl-C
  kernos up -d --model ./my-model           with a Hugging Face model from a folder
  kernos up -d --model http://gpu:8000/v1   with an OpenAI-compatible server
  kernos up -d --listen 0.0.0.0:7600        for clients from elsewhere too, over TLS 1.3
  kernos up -d --socket /tmp/b.sock --state /tmp/b   a second one beside it
""",
)
@click.option("-d", "--detach", is_flag=True, help="In the background; returns when it answers")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where it keeps state")
@click.option("--model", metavar="DIR|HUB|URL", help="The default model")
@click.option(
    "--listen", metavar="HOST:PORT", help="Answer clients from elsewhere there (port 0: any): see 'kernos cert'"
)
@output("table", "json")
@which_kernel
@click.pass_obj
def up(
    session: Session, *, detach: bool, state: Path | None, model: str | None, listen: str | None, output: str
) -> None:
    """Start a kernel.

    One kernel owns a socket and a state folder. A socket that a dead kernel left behind is taken over; where a live one
    answers, this is refused.
    """
    session.here("up")
    socket = check_length(session.path).absolute()
    if session.answers():
        raise Failure(
            f"a kernel is answering at {socket}: 'kernos down' stops it, --socket and --state start another beside it",
            CONFLICT,
        )
    config = session.config_file
    origin = absolute_origin(model) if model else None
    where = state.absolute() if state else session.state
    if not detach:
        replace_self(command(socket=socket, state=where, config=config, model=origin, listen=listen))
    try:
        where.mkdir(parents=True, exist_ok=True, mode=0o700)
        kernel = start(socket, where / LOG, state=where, config=config, model=origin, ephemeral=False, listen=listen)
    except OSError as failed:
        raise Failure(f"{where}: {failed.strerror}; choose another folder with --state", ERROR) from None
    kernel.forget()
    listening = _listening(session)
    if listening:
        _make_folder(where)
    if output == "json":
        told = {"pid": kernel.pid, "socket": str(socket), "state": str(where), "log": str(where / LOG)}
        show_value({**told, "listening": listening}, output=output)
        return
    say(f"kernel {kernel.pid} answers at {socket}; state in {where}, log in {where / LOG}")
    if listening:
        say(f"from elsewhere it answers at {listening}: 'kernos credential new' and 'kernos cert issue' let clients in")


def _listening(session: Session) -> str:
    """Where the kernel that was started answers from elsewhere, "" for nowhere."""
    from syscalls.calls import kernel

    with session.link() as link:
        info: kernel.KernelInfo = link.call(kernel.INFO, kernel.Info())
    return info.listening


def _make_folder(state: Path) -> None:
    """Makes what clients are given to know the kernel by, which its gateway else makes a moment later: what comes after
    this command can copy ca.pem."""
    from userland.remote.authority import Authority
    from userland.remote.credential import Issuer
    from userland.remote.folder import Folder

    folder = Folder(state)
    Authority(folder).ensure()
    Issuer(folder).ensure()
