"""`kernos run`: runs a program and follows it to its end."""

import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final, get_args

import click
import msgspec
from msgspec import Raw

from syscalls.calls import process
from syscalls.calls.kernel import INFO, Info, KernelInfo
from syscalls.calls.process import Budget, Exit
from syscalls.interpreter import interpreter
from syscalls.link.blocking import BlockingLink
from syscalls.worker_limits import WorkerLimits, parse_limits
from userland.cli import amounts
from userland.cli.asking import Asker, can_ask
from userland.cli.boot import ephemeral
from userland.cli.commands.model import absolute_origin
from userland.cli.failures import CONFLICT, DENIED, INTERRUPTED, NO_CONNECTION, OK, Failure, refuse, say
from userland.cli.follow import Followed, follow
from userland.cli.options import SETTINGS, output, starts, which_kernel
from userland.cli.output import plain, show_value, write
from userland.cli.packaged import granted
from userland.cli.session import Session
from userland.cli.target import Target, resolve

_TOLD = ("pid", "status", "code", "value", "error", "tokens", "wall_s")
_ENDED = {
    "killed": "was killed",
    "terminated": "was terminated",
    "timed_out": "ran out of time",
    "over_limit": "ran into a limit",
}
_SCRIPT = b"# /// script"
_TIER = b"tier"
_GRANT = re.compile(r"--allow '([^']+)'")


@final
class _RunCommand(click.Command):
    """Options before PROGRAM are ours, what follows is the program's own; a job file takes no arguments, so there
    options may follow."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        found, _, _ = self.make_parser(ctx).parse_args(list(args))
        ctx.allow_interspersed_args = str(found.get("program", "")).endswith(".toml")
        return super().parse_args(ctx, args)


@click.command(
    cls=_RunCommand,
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos run hello.py                      the only program in a file of yours
  kernos run --allow 'tool:calculator.* call' sums.py:add 1 2
  kernos run ask "What is a page?" docs/   a shipped program, a folder to read
  kernos run chat                          lines that are typed go to the program
  kernos run job.toml -o json              a job file
  kernos run --budget tokens=20k,calls=500 ask "Why?" docs/
  kernos run word-count:sum-up "A text."   a program of a package: see 'kernos pkg'
  kernos run ask --help                    what a program's own arguments are

\b
Without a running kernel one is started for this command and ends with it. A file's program
sees its own folder, read only, and the models; --allow grants more. On a terminal it asks
for what it lacks; elsewhere that is refused. Packages that it names in itself (PEP 723:
'# /// script') are installed once and kept; only wheels, unless --build is given.
""",
)
@click.argument("program", metavar="PROGRAM|FILE[:NAME]|JOB.toml")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--model",
    metavar="MODEL",
    help="The model of its contexts: a name, or for a kernel started for this command a folder, hub name or URL",
)
@click.option(
    "--allow", multiple=True, metavar="RIGHT", help="Grant a right, as in 'file:/srv/docs/** read'; may be given again"
)
@click.option(
    "--budget", metavar="RESOURCE=AMOUNT,…", help="Limits of it and all that it starts, as in tokens=20k,money=0.50"
)
@click.option(
    "--limit", "limits", metavar="LIMIT=AMOUNT,…", help="Limits of its worker, as in memory=256m,cpu=10s,output=1m"
)
@click.option("--budget-tokens", type=click.IntRange(0), metavar="N", help="At most N prompt and generated tokens")
@starts
@click.option("--build", is_flag=True, help="Build packages of FILE that have no wheel: outside the sandbox, as you")
@click.option(
    "--tier",
    type=click.Choice(get_args(process.Tier)),
    default=None,
    help="What it may use of the machine: one thread; threads; or plain files and sockets too, by its rights  "
    "[default: what FILE asks for, else pure]",
)
@click.option("--detach", is_flag=True, help="Print its pid and let it go on alone")
@output("table", "json")
@which_kernel
@click.pass_obj
def run(
    session: Session,
    *,
    program: str,
    args: tuple[str, ...],
    model: str | None,
    allow: tuple[str, ...],
    budget: str | None,
    limits: str | None,
    budget_tokens: int | None,
    timeout: float | None,
    nice: int,
    name: str | None,
    build: bool,
    tier: process.Tier | None,
    detach: bool,
    output: str,
) -> int:
    """Run a program and follow it to its end.

    Its stdout is stdout, its stderr and log are stderr, and its exit code is the exit code. What it returns is printed
    if it has not printed it already; with -o json one object with status, value, tokens and time is all of stdout.
    Ctrl-C asks it to end, a second one ends it.
    """
    target = resolve(program, args, allow=allow)
    if session.host and target.file is not None:
        refuse(
            f"{program} is a file of this machine, and the kernel at {session.host} sees neither it nor packages of "
            "yours: install it there as a program (docs/writing-programs.md), or run it here, without --host"
        )
    packages = _packages(target, build=build)
    wanted = process.Spawn(
        program=target.program,
        kwargs=Raw(target.kwargs),
        name=name,
        rights=target.rights,
        budget=budget_of(budget, budget_tokens if budget_tokens is not None else target.tokens, timeout),
        limits=None if limits is None else worker_limits(limits),
        nice=nice or target.nice,
        model=target.model,
        detach=detach,
        tier=tier or _asked(target),
        ask=not detach and session.typed and can_ask(),
        packages=packages,
    )
    with kernel_for(session, model, detach=detach) as (there, named):
        with there.link() as link:
            packaged = granted(link, target.program)
            if packaged is not None:
                wanted = msgspec.structs.replace(wanted, rights=(*packaged, *target.added))
            if packages:
                _check_same_python(link)
            spawned = link.call(process.SPAWN, msgspec.structs.replace(wanted, model=named or wanted.model))
            if detach:
                return _detached(spawned.pid, output)
            asker = Asker(there, spawned.pid, lasting=there is session) if wanted.ask else None
            seen = follow(there, link, spawned.pid, data=output == "table", asker=asker)
    return _finish(seen, target, output)


@contextmanager
def kernel_for(session: Session, model: str | None, *, detach: bool) -> Iterator[tuple[Session, str | None]]:
    """The kernel to run on, and the model's name there: the one that answers, else one for this command alone."""
    origin = model is not None and ("/" in model or os.path.isdir(model))
    if session.explicit or session.answers():
        if origin:
            refuse(f"--model {model}: a running kernel takes registered names; 'kernos model add NAME {model}' first")
        yield session, model
        return
    if detach:
        raise Failure("no kernel is running for the program to stay on: start one with 'kernos up -d'", NO_CONNECTION)
    if sys.stderr.isatty():
        say("no kernel is running: starting one for this command")
    own = absolute_origin(model) if model and origin else None
    with ephemeral(config=session.config_file, model=own, packages=session.packages) as kernel:
        alone = Session()
        alone.typed = session.typed
        alone.choose(socket=str(kernel.socket))
        yield alone, None if origin else model


def _packages(target: Target, *, build: bool) -> tuple[str, ...] | None:
    """The folders of the packages that a script names in itself; they are installed if they are not there."""
    if target.file is None:
        if build:
            refuse("--build is for a file that names its packages in itself ('# /// script')")
        return None
    if _SCRIPT not in target.file.read_bytes():  # as nearly always: what reads it need not be imported
        return None
    from userland.cli.environment import environment
    from userland.cli.progress import passing
    from userland.cli.script import check_python, read_script

    script = read_script(target.file)
    if script is None:
        return None
    check_python(script, platform.python_version(), name=target.file.name)
    if not script.dependencies:
        return None
    with passing() as tell:
        return (str(environment(script.dependencies, name=target.file.name, build=build, tell=tell)),)


def _asked(target: Target) -> process.Tier:
    """The tier that a file asks for; that of a package's program is in its manifest."""
    if target.file is None or _TIER not in target.file.read_bytes():  # as nearly always: nothing has to be imported
        return "pure"
    from userland.cli.asked_tier import asked_tier

    return asked_tier(target.file, target.program.rpartition(":")[2])


def _check_same_python(link: BlockingLink) -> None:
    """What was installed for this interpreter is for no other: raises Failure if the kernel's workers run on one."""
    info: KernelInfo = link.call(INFO, Info())
    if info.python != interpreter():
        raise Failure(
            f"the running kernel is on {info.python or 'an interpreter that it does not tell'}, this command on "
            f"{interpreter()}: use the kernos command of the kernel's own environment",
            CONFLICT,
        )


def worker_limits(text: str) -> WorkerLimits:
    try:
        return parse_limits(text)
    except ValueError as bad:
        raise click.BadParameter(str(bad), param_hint="--limit") from None


def budget_of(text: str | None, tokens: int | None, wall_s: float | None) -> Budget | None:
    """What --budget, --budget-tokens or a job file, and --timeout say together."""
    limits: dict[str, Any] = {}
    if text is not None:
        limits.update(amounts.parse(text, option="--budget").items())
    if "generation_us" in limits:
        limits["generation_s"] = amounts.seconds(limits.pop("generation_us"))
    if tokens is not None:
        limits.setdefault("tokens", tokens)
    if wall_s is not None:
        limits["wall_s"] = wall_s
    return Budget(**limits) if limits else None


def _detached(pid: int, output: str) -> int:
    if output == "json":
        show_value({"pid": pid}, output=output)
    else:
        write(f"{pid}\n")
    return OK


def _finish(seen: Followed, target: Target, output: str) -> int:
    """Prints what it returned, or why it failed; the exit code."""
    ended = seen.exit
    assert ended is not None
    value = plain(ended.value)
    if output == "json":
        told = plain(ended)
        show_value({key: told[key] for key in _TOLD}, output=output)
    elif ended.status == "done":
        _show(value, seen.printed)
    if ended.status != "done" and output != "json":
        _explain(ended, target)
    return INTERRUPTED if seen.interrupted else ended.code


def _show(value: object, printed: str) -> None:
    """The value, unless the program has shown it: text that it printed last, or anything after it printed at all."""
    if isinstance(value, str):
        if not printed.rstrip().endswith(value.strip()):
            write(value + "\n")
    elif value is not None and not printed:
        show_value(value, output="json")


def _explain(ended: Exit, target: Target) -> None:
    error = ended.error.partition(": ")[2] if ended.error.startswith("E") else ended.error
    if error.startswith("usage:"):
        print(error, file=sys.stderr)
        return
    how = _ENDED.get(ended.status)
    say(f"process {ended.pid} {how}" if how else error or f"process {ended.pid} failed and gave no reason")
    missing = _GRANT.search(error)
    if ended.code == DENIED and missing is not None and sys.stderr.isatty():
        what = target.program.removesuffix(":")
        say(f"to grant it: kernos run --allow '{missing[1]}' {what} ...")
