"""`kernos version`."""

import click

from syscalls.limits import ABI_VERSION
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import show_value, write_lines
from userland.cli.session import Session


@click.command(context_settings=SETTINGS, epilog="Example: kernos version -o json")
@output("table", "json")
@which_kernel
@click.pass_obj
def version(session: Session, *, output: str) -> None:
    """The version of this command line, and of the kernel if one answers."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from syscalls.calls import kernel
    from syscalls.errors import SyscallError

    try:
        mine = installed("kernos")
    except PackageNotFoundError:
        mine = "unknown"
    try:
        with session.link() as link:
            info: kernel.KernelInfo | None = link.call(kernel.INFO, kernel.Info())
    except SyscallError:
        info = None
    found = {"kernos": mine, "abi": ABI_VERSION, "kernel": info.version if info else None}
    if output == "json":
        show_value(found, output=output)
    else:
        running = f"kernel {info.version} (pid {info.pid})" if info else "no kernel answers"
        write_lines([f"kernos {mine}, ABI {ABI_VERSION}; {running}"])
