"""What packages used of what they were granted, and giving and taking rights after the installation."""

from pathlib import Path
from typing import Literal, final

from msgspec import Struct
from msgspec.structs import replace

from syscalls.errors import Invalid
from syscalls.package import USED, Installed, Uses, read_uses
from syscalls.rights import Right, uncovered
from userland.pkg.store import Store

Standing = Literal["used", "unused", "shown", "refused", "lacked"]


@final
class Line(Struct, frozen=True):
    """One right of one package. `used`: it let `uses` calls in, `last` in seconds since 1970. `unused`: none. `shown`:
    it showed files to `uses` workers, and what they read of them nobody counts. `refused`: asked for and not granted.
    `lacked`: never asked for, and `uses` calls were refused for want of it. `by` answers for the package: whoever
    published it by its attestations, or the key that signed it."""

    package: str
    right: str
    standing: Standing
    uses: int = 0
    last: float = 0.0
    by: str = ""


def audit(store: Store, names: tuple[str, ...]) -> list[Line]:
    """Of the packages named, or of all. Raises NotFound (ENOENT)."""
    records = [store.get(name) for name in names] if names else store.all()
    return [line for record in records for line in _lines(record, uses_of(store.folder, record.manifest.name))]


def uses_of(folder: Path, name: str) -> Uses:
    """The counters of a package; none where nothing was counted."""
    try:
        return read_uses((folder / name / USED).read_bytes())
    except (FileNotFoundError, ValueError):
        return Uses()


def unused(lines: list[Line]) -> dict[str, tuple[str, ...]]:
    """Per package what was granted and never used; packages that never ran have used nothing, and are left alone."""
    found: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys(line.package for line in lines):
        own = [line for line in lines if line.package == name]
        never = tuple(line.right for line in own if line.standing == "unused")
        if never and any(line.standing in ("used", "shown", "lacked") for line in own):
            found[name] = never
    return found


def take_unused(store: Store, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Takes back what `unused` says; per package what it was."""
    taken = unused(audit(store, names))
    for name, rights in taken.items():
        _write(store, store.get(name), lose=rights)
    return taken


def take(store: Store, name: str, patterns: tuple[Right, ...]) -> tuple[str, ...]:
    """Takes back what any of the patterns covers. Raises Invalid where that is nothing."""
    record = store.get(name)
    lost = tuple(text for text in record.granted if not uncovered((Right.parse(text),), patterns))
    if not lost:
        raise Invalid(f"{name} holds nothing of that; it holds {', '.join(record.granted) or 'nothing'}")
    _write(store, record, lose=lost)
    return lost


def give(store: Store, name: str, patterns: tuple[Right, ...]) -> tuple[str, ...]:
    """Grants what the package asks for and was kept from it, as far as the patterns go. Raises Invalid where that is
    nothing: a package holds nothing that it did not ask for."""
    record = store.get(name)
    gained = tuple(text for text in record.refused if not uncovered((Right.parse(text),), patterns))
    if not gained:
        kept = ", ".join(record.refused) or "nothing"
        raise Invalid(f"{name} was kept from nothing of that (but from {kept}), and gets no more than it asks for")
    _write(store, record, gain=gained)
    return gained


def _write(store: Store, record: Installed, *, gain: tuple[str, ...] = (), lose: tuple[str, ...] = ()) -> None:
    granted = {*record.granted, *gain} - set(lose)
    refused = {*record.refused, *lose} - set(gain)
    store.write(replace(record, granted=tuple(sorted(granted)), refused=tuple(sorted(refused))))


def _lines(record: Installed, uses: Uses) -> list[Line]:
    name, by = record.manifest.name, record.publisher or record.key
    lines = []
    for text in record.granted:
        use = uses.rights.get(text)
        if use is None or not (use.uses or use.shown):
            lines.append(Line(name, text, "unused", by=by))
        elif use.uses:
            lines.append(Line(name, text, "used", use.uses, use.last, by))
        else:
            lines.append(Line(name, text, "shown", use.shown, use.last, by))
    lines += [Line(name, text, "refused", by=by) for text in record.refused]
    lines += [Line(name, text, "lacked", count, by=by) for text, count in sorted(uses.denied.items())]
    return lines
