"""`kernos exec`: any executable, in the sandbox."""

import os
import shutil
from typing import Any

import click
from msgspec.structs import replace

from syscalls.calls import command
from syscalls.mediation import is_whole_site
from syscalls.rights import Right
from userland.cli.commands.run import budget_of, kernel_for, worker_limits
from userland.cli.failures import NOT_FOUND, Failure, refuse, say
from userland.cli.options import SETTINGS, starts, which_kernel
from userland.cli.session import Session
from userland.cli.target import checked_right

_OWN = ("model:*", "context:own", "process:self", "account:own usage", "device:* list")
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/nix/store/")


@click.command(
    name="exec",
    context_settings={**SETTINGS, "ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  kernos exec -- ls -la /
  kernos exec --read . --budget tokens=20k -- python3 agent.py
  kernos exec --write . --overlay -- make           then: kernos diff, kernos apply
  kernos exec --allow 'tool:calculator.* call' -- node agent.mjs
  kernos exec -- sh                                 a shell in the sandbox

\b
COMMAND sees the system's own programs and libraries, and of all else what --read, --write and
--allow grant, at the same place; /tmp is its own. Its environment is clean but for --env, and names
the kernel: OPENAI_BASE_URL, OPENAI_API_KEY, KERNOS_MCP_URL. Its exit code is the exit code: 127
where it is not there, 126 where it cannot be executed, 128+N where signal N ended it.
""",
)
@click.argument("words", metavar="COMMAND [ARG]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--read", "-r", multiple=True, metavar="PATH", help="A folder or file it may read; may be given again")
@click.option("--write", "-w", multiple=True, metavar="PATH", help="A folder or file that it may also write")
@click.option(
    "--allow", multiple=True, metavar="RIGHT", help="Grant a right, as in 'tool:calculator.* call'; may be given again"
)
@click.option("--overlay", is_flag=True, help="Keep what it writes apart: see kernos diff, apply and discard")
@click.option("--env", "-e", multiple=True, metavar="NAME[=VALUE]", help="A variable for it, as given or as it is here")
@click.option("--cwd", metavar="DIR", help="Where it begins  [default: this folder if it is granted, else /tmp]")
@click.option("--model", metavar="MODEL", help="The model for requests that name none: see 'kernos run'")
@click.option("--budget", metavar="RESOURCE=AMOUNT,…", help="Limits of what it asks of the kernel, as in tokens=20k")
@click.option(
    "--limit",
    "limits",
    metavar="LIMIT=AMOUNT,…",
    help="Limits: memory=1g,cpu=60s,… of each OS process, disk=2g of all together",
)
@starts
@click.option("--detach", is_flag=True, help="Print its pid and let it go on alone; its output is its log")
@click.option("--tty/--no-tty", "-t/-T", default=None, help="A terminal of its own  [default: where this is one]")
@which_kernel
@click.pass_obj
def exec_(
    session: Session,
    *,
    words: tuple[str, ...],
    read: tuple[str, ...],
    write: tuple[str, ...],
    allow: tuple[str, ...],
    overlay: bool,
    env: tuple[str, ...],
    cwd: str | None,
    model: str | None,
    budget: str | None,
    limits: str | None,
    timeout: float | None,
    nice: int,
    name: str | None,
    detach: bool,
    tty: bool | None,
) -> int:
    """Run any executable in the sandbox, with the kernel as its model server.

    It reaches nothing but what it is granted. What it asks at OPENAI_BASE_URL and KERNOS_MCP_URL are its own system
    calls: scheduled, budgeted, traced. Ctrl-C is the interrupt that it would be in any shell.
    """
    from userland.cli.attached import run_attached, run_detached

    rights = rights_for(read, write, allow)
    if overlay:
        session.here("exec --overlay")
        if detach:
            refuse("--overlay is for a command that is waited for, not for --detach")
    if session.host:
        path, seen = words[0], rights
        if not path.startswith("/"):
            refuse(f"{path}: write the whole path, as it is at {session.host}")
    else:
        path, seen = _found(words[0], rights)
    wanted: dict[str, Any] = {
        "path": path,
        "argv": words,
        "env": _environment(env),
        "cwd": os.path.abspath(cwd) if cwd else _here(seen),
        "name": name,
        "rights": seen,
        "budget": budget_of(budget, None, timeout),
        "limits": None if limits is None else worker_limits(limits),
        "nice": nice,
        "detach": detach,
    }
    with kernel_for(session, model, detach=detach) as (there, named):
        wanted["model"] = named
        asked = command.Exec(**wanted)
        if overlay:
            return _overlaid(there, asked, tty=tty)
        return run_detached(there, asked) if detach else run_attached(there, asked, tty=tty)


def _overlaid(session: Session, asked: command.Exec, *, tty: bool | None) -> int:
    from userland.cli.attached import run_attached
    from userland.cli.commands.overlay import told
    from userland.overlay import store

    if not any(Right.parse(right).resource.startswith("file:") and "write" in right for right in asked.rights or ()):
        refuse("--overlay is for what it may write: name a folder with --write")
    try:
        home = store.create()
    except OSError as failed:
        raise Failure(f"no overlay can be made: {failed}") from None
    try:
        return run_attached(session, replace(asked, layer=str(home.resolve())), tty=tty)
    finally:
        told(home)


def rights_for(read: tuple[str, ...], write: tuple[str, ...], allow: tuple[str, ...]) -> tuple[str, ...]:
    """What the options grant, and what every command has. Raises Failure for a path that is not there."""
    given = [checked_right(right) for right in allow]
    rights = [*_OWN, *given]
    rights += [_path_right(path, "read") for path in read]
    rights += [_path_right(path, "read,write") for path in write]
    for right in given:  # of what it may call it may also ask what it takes
        resource = Right.parse(right).resource
        if "://" in resource and not is_whole_site(Right.parse(right)):
            say(
                f"'{right}' lets nothing through here: methods and paths cannot be seen within TLS, so a site counts "
                "only as a whole, 'net:https://HOST/** *'; or write 'net:tcp:HOST:443 connect'"
            )
        if resource.startswith("tool:"):
            rights.append(f"{resource.partition('.')[0].replace('**', '*')} open")
        elif resource.startswith("syscall:"):
            rights.append("syscall:* list")
    return tuple(dict.fromkeys(rights))


def _path_right(path: str, actions: str) -> str:
    real = os.path.realpath(os.path.expanduser(path))
    if not os.path.exists(real):
        raise Failure(f"{path}: no such file or folder", NOT_FOUND)
    if "*" in real or any(char.isspace() for char in real):
        refuse(f"{path}: a right cannot name a path with spaces or '*' in it; rename it, or grant the folder above")
    return f"file:{real}/** {actions}" if os.path.isdir(real) else f"file:{real} {actions}"


def _found(word: str, rights: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The executable's path, and the rights with that to see it: a file of the system is seen anyway."""
    path = os.path.abspath(word) if "/" in word else shutil.which(word)
    if path is None or not os.path.exists(path):
        raise Failure(f"{word}: no such command", 127)
    if path.startswith(_SYSTEM):
        return path, rights
    real = os.path.realpath(path)
    if real.startswith(_SYSTEM):
        return real, rights
    if any(Right.parse(right).allows("read", f"file:{path}") for right in rights if right.startswith("file:")):
        return path, rights
    return real, (*rights, f"file:{real} read")


def _here(rights: tuple[str, ...]) -> str | None:
    here = os.path.realpath(os.getcwd())
    seen = (Right.parse(right) for right in rights if right.startswith("file:"))
    return here if any(right.allows("read", f"file:{here}/") for right in seen) else None


def _environment(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            if name not in os.environ:
                refuse(f"--env {name}: there is no such variable here; give it a value")
            value = os.environ[name]
        found[name] = value
    return found
