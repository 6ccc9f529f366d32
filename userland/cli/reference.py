"""The manual as a whole: the pages that are not of one call, and docs/syscalls.md, which is made from the table."""

from collections.abc import Iterator

from syscalls.errors import CLASS_OF, Errno
from syscalls.row import Row
from syscalls.schemas import meaning
from syscalls.signals import CATCHABLE, Signal
from syscalls.table import RESERVED, TABLE
from userland.cli import manual
from userland.cli.failures import OF_ERRNO

FAMILIES = {
    "process": "programs being run",
    "context": "conversations, their pages and windows",
    "model": "what generates and embeds",
    "message": "between processes",
    "device": "tools, stores and whatever else is served",
    "file": "mounted trees",
    "net": "the network, through a broker",
    "time": "the kernel's clock",
    "capability": "rights as handles",
    "account": "budgets",
    "kernel": "the machine itself",
    "job": "batch work",
}
_SIGNALS = {
    Signal.INT: "what Ctrl-C is to an executable; to a program it is TERM",
    Signal.KILL: "ends the process at once; nothing of it runs any more",
    Signal.USR1: "the program's own",
    Signal.USR2: "the program's own",
    Signal.ALRM: "an alarm that the process set has gone off",
    Signal.TERM: "asks it to end: its scope is cancelled; after the grace time its worker is ended",
    Signal.CHLD: "a child has ended and waits to be reaped",
    Signal.CONT: "frees a process that STOP holds",
    Signal.STOP: "holds it: its calls are not answered until CONT",
    Signal.QUOTA: "a limit of its account is near or reached",
}


def family_of(row: Row) -> str:
    """The part of a call's name before the dot."""
    return row.name.partition(".")[0]


def errno_page() -> list[str]:
    """The manual page of the errors: number, name, exit code of the command line, class in Python, meaning."""
    lines = [
        manual.title("ERRNO(3)"),
        "",
        "NAME",
        "    errno - how a system call is refused or fails",
        "",
        "DESCRIPTION",
    ]
    lines += manual.indented(
        "An error is a number and a sentence that says what to do. In Python each is a class of syscalls.errors with "
        "the closest built-in exception as a second base; the command line ends with the exit code."
    )
    lines += ["", "ERRORS"]
    for errno in Errno:
        kind, code = CLASS_OF[errno], OF_ERRNO.get(errno, 1)
        lines.append(
            f"    {int(errno):>3}  {errno.name:<10} exit {code:<4} {kind.__name__} ({kind.__bases__[1].__name__})"
        )
        lines += manual.indented(meaning(errno), by=9)
    return lines


def signal_page() -> list[str]:
    """The manual page of the signals."""
    lines = [
        manual.title("SIGNAL(7)"),
        "",
        "NAME",
        "    signal - what a process can be sent, by process.kill",
        "",
        "SIGNALS",
    ]
    for signal in Signal:
        heard = "heard by the program" if signal in CATCHABLE else "the machine's own"
        lines += [f"    {int(signal):>3}  {signal.name} ({heard})", *manual.indented(_SIGNALS[signal], by=9)]
    return lines


def families() -> list[tuple[str, list[Row]]]:
    """The rows by family, both in the order of their numbers."""
    found: dict[str, list[Row]] = {}
    for number in sorted(TABLE):
        found.setdefault(family_of(TABLE[number]), []).append(TABLE[number])
    return list(found.items())


def markdown() -> Iterator[str]:
    """docs/syscalls.md, line by line."""
    yield from (
        "# The system calls",
        "",
        "Made from the table by `kernos man -o md`; a test keeps it so. `kernos man NAME` shows one page,",
        "`kernos syscalls --schema` is all of it for a client in another language (see [clients](clients/README.md)).",
        "",
    )
    for family, rows in families():
        yield from (f"## {family}: {FAMILIES[family]}", "", "| number | call | right | |", "| --- | --- | --- | --- |")
        for row in rows:
            right = f"`{row.needs.resource} {row.needs.action}`" if row.needs else "none"
            yield f"| 0x{row.number:02X} | [{row.name}](#{_anchor(row)}) | {right} | {manual.summary(row)} |"
        yield ""
    reserved = ", ".join(f"0x{number:02X} {name}" for number, name in sorted(RESERVED.items()))
    yield from ("Reserved: " + reserved + ". Numbers are never used again.", "")
    for page in (errno_page(), signal_page()):
        yield from ("```text", *page[2:], "```", "")
    for _, rows in families():
        for row in rows:
            yield from page_markdown(row)


def page_markdown(row: Row) -> Iterator[str]:
    """One call's page under a heading of its own."""
    yield from (f"### {row.name}", "", "```text", *manual.page(row)[2:], "```", "")


def _anchor(row: Row) -> str:
    """How renderers of Markdown name the heading."""
    return row.name.replace(".", "")
