"""The options that many commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from userland.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "wide", "json", "yaml", "name")
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _choose_socket(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(Session).choose(socket=value)


def _choose_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if value:
        ctx.ensure_object(Session).choose(config=value)


def _choose_host(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(Session).choose(host=value)


def which_kernel(function: F) -> F:
    """`--socket`, `--host` and `--config`; what they say is in the Session."""
    host = click.option(
        "--host",
        metavar="NAME|HOST:PORT",
        expose_value=False,
        callback=_choose_host,
        help="A kernel elsewhere: [hosts.NAME] in kernos.toml  [env: KERNOS_HOST]",
    )
    socket = click.option(
        "--socket",
        metavar="PATH",
        expose_value=False,
        callback=_choose_socket,
        help="The kernel's socket  [env: KERNOS_SOCKET]",
    )
    config = click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_choose_config,
        help="kernos.toml to read",
    )
    return socket(host(config(function)))


def output(*formats: str, default: str = "table") -> Callable[[F], F]:
    """`-o`; every command has at least json."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats or FORMATS),
        default=default,
        help=f"How to print the result: {', '.join(formats or FORMATS)}",
        metavar="FORMAT",
    )


def starts(function: F) -> F:
    """`--timeout`, `--nice` and `--name`, for commands that start a process."""
    timeout = click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="At most so long  [exit code 124]",
    )
    nice = click.option(
        "--nice",
        type=click.IntRange(-20, 19),
        default=0,
        metavar="N",
        help="From -20 (more of the machine) to 19 (less)",
    )
    name = click.option("--name", metavar="NAME", help="What ps calls it")
    return timeout(nice(name(function)))


def lists(function: F) -> F:
    """`-o`, `-q` and `--no-trunc`, for commands that print a table."""
    quiet = click.option("-q", "--quiet", is_flag=True, help="Print only the names")
    whole = click.option("--no-trunc", is_flag=True, help="Do not cut lines to the width of the terminal")
    return output()(quiet(whole(function)))
