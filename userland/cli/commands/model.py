"""`kernos model`: registered models."""

import os
import sys

import click

from syscalls.calls import model as abi
from syscalls.turns import user
from userland.cli.failures import refuse
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import plain, show_rows, show_value, table_lines, write_lines
from userland.cli.session import Session
from userland.cli.table import Column
from userland.cli.values import count

COLUMNS = (
    Column("MODEL", lambda m: m.ref),
    Column("DEFAULT", lambda m: "*" if m.default else ""),
    Column("STATE", lambda m: m.state),
    Column("DRIVER", lambda m: m.driver),
    Column("PARAMS", lambda m: count(m.parameters) if m.parameters else "-", right=True),
    Column("WINDOW", lambda m: str(m.window_tokens) if m.window_tokens else "-", right=True),
    Column("SLOTS", lambda m: str(m.slots) if m.slots else "-", right=True),
    Column("CHECKSUM", lambda m: m.checksum.removeprefix("sha256:")[:12] or "-"),
    Column("ORIGIN", lambda m: m.origin),
    Column("CAN", lambda m: ",".join(m.can), wide=True),
)


@click.group(context_settings=SETTINGS)
def model() -> None:
    """Models: what can be asked to generate or embed."""


@model.command(
    "list",
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos model list
  kernos model list -o wide
""",
)
@lists
@which_kernel
@click.pass_obj
def list_(session: Session, *, output: str, quiet: bool, no_trunc: bool) -> None:
    """List registered models."""
    with session.link() as link:
        found: abi.Models = link.call(abi.LIST, abi.ListModels())
    show_rows(found.models, COLUMNS, name=lambda m: m.ref, output=output, quiet=quiet, whole=no_trunc)


@model.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos model show kernos-tiny
  kernos model show kernos-tiny@2 -o json
""",
)
@click.argument("name")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def show(session: Session, *, name: str, output: str) -> None:
    """Show one model: checksum, where it came from, what it can do."""
    with session.link() as link:
        info: abi.ModelInfo = link.call(abi.INFO, abi.ModelName(model=name))
    _print(info, output)


@model.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos model add mine ./models/mine                     a folder with a Hugging Face model
  kernos model add smol HuggingFaceTB/SmolLM2-135M-Instruct
  kernos model add big http://localhost:8000/v1 --option remote_name=llama --option credential_file=~/.key
""",
)
@click.argument("name")
@click.argument("origin")
@click.option("--driver", metavar="DRIVER", help="Which driver; by default the origin tells")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="For the driver; may be given again")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def add(session: Session, *, name: str, origin: str, driver: str | None, options: tuple[str, ...], output: str) -> None:
    """Register what ORIGIN holds as NAME: a folder, a hub name, or the URL of an OpenAI-compatible server.

    The model is opened first: a folder that is missing, truncated or of another architecture is refused with what is
    wrong with it.
    """
    args = abi.AddModel(name=name, origin=absolute_origin(origin), driver=driver, options=_pairs(options))
    with session.link() as link:
        info: abi.ModelInfo = link.call(abi.ADD, args)
    _print(info, output)


@model.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos model load big          waits until it is ready
""",
)
@click.argument("name")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def load(session: Session, *, name: str, output: str) -> None:
    """Start the host of a model and wait until it is ready."""
    with session.link() as link:
        info: abi.ModelInfo = link.call(abi.LOAD, abi.ModelName(model=name))
    _print(info, output)


@model.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos model unload big                 refused while it generates
  kernos model unload big --wait 60       lets what runs end first
  kernos model unload big --force         ends what runs
""",
)
@click.argument("name")
@click.option("--wait", "wait_s", type=float, default=0.0, metavar="SECONDS", help="For the calls under way to end")
@click.option("--force", is_flag=True, help="End the calls that are still under way then")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def unload(session: Session, *, name: str, wait_s: float, force: bool, output: str) -> None:
    """End the host of a model, which frees its memory. The next call that needs the model loads it again."""
    with session.link() as link:
        info: abi.ModelInfo = link.call(abi.UNLOAD, abi.Unload(model=name, timeout_s=wait_s, force=force))
    _print(info, output)


@model.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos model tokenize "Three ships."
  kernos model tokenize --model big --count < README.md
""",
)
@click.argument("text", required=False)
@click.option("--model", "name", metavar="NAME", help="Whose tokens; the default model's unless given")
@click.option("--count", "count_only", is_flag=True, help="Print only how many")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def tokenize(session: Session, *, text: str | None, name: str | None, count_only: bool, output: str) -> None:
    """Show the tokens of TEXT, or of standard input. A bound is marked with `<=`: that model's server keeps its
    tokenizer to itself."""
    given = sys.stdin.read() if text is None else text
    with session.link() as link:
        found: abi.Tokenized = link.call(abi.TOKENIZE, abi.Tokenize(text=given, model=name))
    if output != "table":
        show_value(plain(found), output=output)
        return
    told = f"{'' if found.exact else '<= '}{found.count}"
    write_lines([told] if count_only or not found.ids else [f"{told}: {' '.join(map(str, found.ids))}"])


SCORES = (
    Column("LOGPROB", lambda row: f"{row[1].logprob:.4f}", right=True),
    Column("PER TOKEN", lambda row: f"{row[1].logprob / len(row[1].tokens):.4f}", right=True),
    Column("TOKENS", lambda row: str(len(row[1].tokens)), right=True),
    Column("GREEDY", lambda row: "*" if row[1].greedy else ""),
    Column("CONTINUATION", lambda row: row[0].replace("\n", "\\n")),
)


@model.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos model score "The capital of France is" " Paris" " Rome"
  kernos model score --chat "Is the sea salty? Answer yes or no." yes no
""",
)
@click.argument("prompt")
@click.argument("continuations", nargs=-1, required=True, metavar="CONTINUATION...")
@click.option("--model", "name", metavar="NAME", help="Which model; the default one unless given")
@click.option("--chat", is_flag=True, help="PROMPT is a user's turn, and the continuations are answers to it")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def score(
    session: Session, *, prompt: str, continuations: tuple[str, ...], name: str | None, chat: bool, output: str
) -> None:
    """Show how likely each CONTINUATION is after PROMPT (natural logarithms), the likeliest first."""
    turns = (user(prompt),) if chat else ()
    args = abi.Score(continuations=continuations, prompt="" if chat else prompt, turns=turns, model=name)
    with session.link() as link:
        found: abi.Scored = link.call(abi.SCORE, args)
    if output != "table":
        show_value(plain(found), output=output)
        return
    rows = sorted(zip(continuations, found.continuations, strict=True), key=lambda row: -row[1].logprob)
    write_lines(table_lines(rows, SCORES, wide=False))


def absolute_origin(origin: str) -> str:
    """A folder by its absolute path, because the kernel stands elsewhere; anything else as it is."""
    path = os.path.expanduser(origin)
    return os.path.abspath(path) if os.path.isdir(path) or path.startswith(("/", "./", "../")) else origin


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not key or not equals:
            refuse(f"--option {option!r}: write KEY=VALUE")
        pairs[key] = value
    return pairs


def _print(info: abi.ModelInfo, output: str) -> None:
    if output != "table":
        show_value(plain(info), output=output)
        return
    facts = {
        "model": info.ref + (" (default)" if info.default else ""),
        "state": info.state,
        "driver": info.driver,
        "origin": info.origin,
        "checksum": info.checksum or "-",
        "parameters": f"{info.parameters:,}" if info.parameters else "-",
        "window": f"{info.window_tokens} tokens" if info.window_tokens else "-",
        "slots": str(info.slots or "-"),
        "can": ", ".join(info.can) or "-",
    }
    write_lines(f"{key + ':':<12}{value}" for key, value in facts.items())
