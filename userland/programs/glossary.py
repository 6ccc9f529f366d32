"""A sandboxed tool: one line on each word, system call and error of this machine."""

from functools import cache
from importlib import resources

from syscalls.errors import CLASS_OF, NotFound
from syscalls.table import TABLE
from userland.sdk.program import tool

_FILE = "glossary.txt"


@tool
def lookup(term: str) -> str:
    """Looks up a term: a word of the design, a system call or an error."""
    wanted = _key(term)
    entries = _entries()
    for key in (wanted, wanted.removesuffix("s"), wanted.removeprefix("the "), wanted.removeprefix("a ")):
        if key in entries:
            return entries[key]
    raise NotFound(f"the glossary has no entry for {term}")


def _key(term: str) -> str:
    return " ".join(term.replace("_", " ").replace("-", " ").lower().split()).strip("\"'?.,:; ")


@cache
def _entries() -> dict[str, str]:
    """`term: definition` by the term's key: the shipped file, then calls and errors from the table itself."""
    lines = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8").splitlines()
    lines += [f"{row.name}: {row.doc.partition('. ')[0].rstrip('.')}" for row in TABLE.values()]
    for errno, kind in CLASS_OF.items():
        sentence = (kind.__doc__ or "").strip().partition(": ")[2].partition("\n")[0].rstrip(".")
        lines.append(f"{errno.name}: {sentence}")
    found: dict[str, str] = {}
    for line in lines:
        term, colon, _ = line.partition(": ")
        if colon:
            for name in term.split(", "):
                found.setdefault(_key(name), line)
    return found
