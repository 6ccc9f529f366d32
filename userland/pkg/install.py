"""Installing: a wheel is copied, checked, agreed to, laid out aside, and only then made the installed one.

Nothing of the package is executed. What was checked is what is installed: everything is read from one private copy.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, final

from msgspec import Struct
from msgspec.structs import replace

from syscalls.errors import Busy, Invalid, IOFailed, NotFound, PermissionDenied
from syscalls.package import SITE, Ask, Installed, Manifest
from syscalls.rights import Right, uncovered
from userland.pkg.belief import Answerable, check_answers, who_answers
from userland.pkg.contents import filled
from userland.pkg.environment import Source, check_locked, check_machine, lay_out
from userland.pkg.keyring import Ring
from userland.pkg.names import near
from userland.pkg.publishers import Publishers
from userland.pkg.signing import SUFFIX
from userland.pkg.store import Store, seal
from userland.pkg.wheel import Wheel, copy_private, read_wheel
from userland.pkg.words import Sentence, sentences

WHEEL: Final = "wheel.whl"


@final
class Candidate(Struct, frozen=True, kw_only=True):
    """A wheel that was checked and may be installed: what it asks for (`asks`, blanks filled), who answers for it, what
    is installed of it now, and what a person should be warned of."""

    wheel: Wheel
    manifest: Manifest
    answers: Answerable
    before: Installed | None
    values: dict[str, str]
    asks: tuple[tuple[Ask, Right], ...]
    warnings: tuple[str, ...]
    folder: Path

    @property
    def more(self) -> tuple[tuple[Ask, Right], ...]:
        """What it asks for beyond what the installed version asked for. All of it where none is installed."""
        if self.before is None:
            return self.asks
        settled = [Right.parse(text) for text in (*self.before.granted, *self.before.refused)]
        return tuple(each for each in self.asks if uncovered((each[1],), settled))

    @property
    def left_out(self) -> tuple[Ask, ...]:
        """What it would like, and nobody filled in the blanks of."""
        asked = {ask.right for ask, _ in self.asks}
        return tuple(ask for ask in self.manifest.rights if ask.right not in asked)

    def told(self) -> list[Sentence]:
        """What it asks for, in words, the worst first; of an upgrade what is more."""
        return sentences(self.more)


@contextmanager
def candidate(
    store: Store,
    path: Path,
    *,
    values: dict[str, str],
    unsigned: bool,
    upgrade: bool,
    trust: bool = False,
    new_publisher: bool = False,
) -> Iterator[Candidate]:
    """Checks the wheel at `path`; it can be completed within the block, and leaves nothing behind after it. Call it
    with the store locked.

    Raises Invalid (EINVAL) for a wheel that is none or has no manifest, PermissionDenied (EPERM) where nobody is
    believed to answer for it and for extensions without the word of trust, Busy (EBUSY) where it is installed already
    or its names are taken, NotFound (ENOENT) for what is not there."""
    with store.aside() as folder:
        copy_private(path, folder / WHEEL)
        wheel = read_wheel(folder / WHEEL, called=path.name)
        manifest = wheel.manifest
        if manifest is None:
            raise Invalid(f"{path.name} has no manifest, so it is no package of kernos: 'kernos pkg build' makes one")
        check_machine(wheel)
        check_locked(wheel)
        _check_names(store, manifest)
        before = store.find(wheel.name)
        _check_state(wheel, before, upgrade=upgrade)
        _check_trust(manifest, before, trust=trust)
        answers = who_answers(store, path, wheel, before)
        check_answers(answers, wheel.name, before, unsigned=unsigned, new_publisher=new_publisher)
        known = {**(before.values if before else {}), **values}
        yield Candidate(
            wheel=wheel,
            manifest=manifest,
            answers=answers,
            before=before,
            values={name: known[name] for name in manifest.blanks if name in known},
            asks=filled(manifest, known),
            warnings=_warnings(store, wheel, before),
            folder=folder,
        )


def complete(store: Store, chosen: Candidate, *, granted: tuple[Right, ...], source: Source) -> Installed:
    """Lays the package out and makes it the installed one, with what was `granted` of what it asks for. Raises what
    laying out raises; nothing has changed then."""
    held = tuple(sorted(str(right) for right in granted))
    asked = {str(right) for _, right in chosen.asks}
    assert set(held) <= asked, "nothing is granted that was not asked for"
    made = chosen.folder / "release"
    made.mkdir(mode=0o755)
    site = made / SITE
    lay_out(chosen.wheel, site, source=source, aside=chosen.folder)
    seal(site)
    (chosen.folder / WHEEL).rename(made / WHEEL)
    if chosen.answers.signature:
        (made / (WHEEL + SUFFIX)).write_bytes(chosen.answers.signature)
    record = Installed(
        manifest=chosen.manifest,
        release=f"{chosen.wheel.version}-{chosen.wheel.sha256[:12]}",
        sha256=chosen.wheel.sha256,
        granted=held,
        refused=tuple(sorted(asked - set(held))),
        values=chosen.values,
        key=chosen.answers.key,
        publisher=chosen.answers.publisher,
        trusted=bool(chosen.manifest.extensions),
        since=time.time(),
        before=chosen.before.release if chosen.before else "",
    )
    if chosen.answers.public:  # first: a package whose key nobody has heard of could not be upgraded
        Ring(store.folder).saw(chosen.answers.public, chosen.wheel.name)
    try:
        store.keep(record, made)
    except BaseException:
        if chosen.before is None:
            Ring(store.folder).forget(chosen.wheel.name)
        raise
    return record


def roll_back(store: Store, name: str) -> Installed:
    """Makes the version before the installed one again, with what it held then, less what was taken back since. Raises
    NotFound where there is none, PermissionDenied where its key was revoked."""
    now = store.get(name)
    old = store.release(name, now.before)
    check_key(store, old)
    taken = set(now.refused)
    kept = tuple(right for right in old.granted if right not in taken)
    refused = tuple(sorted({*old.refused, *(set(old.granted) - set(kept))}))
    record = replace(old, granted=kept, refused=refused, before=now.release, since=time.time())
    store.write(record)
    return record


def remove(store: Store, name: str) -> None:
    """Takes a package away with all that belongs to it; an unreadable record is no hindrance. Raises NotFound."""
    try:
        store.get(name)
    except IOFailed:
        pass
    store.remove(name)
    Ring(store.folder).forget(name)


def check_key(store: Store, record: Installed) -> None:
    """Raises PermissionDenied (EPERM) where the key or the publisher of an installed package was revoked."""
    Publishers(store.folder).check(record.publisher)
    known = Ring(store.folder).find(record.key) if record.key else None
    if known is not None and known.state == "revoked":
        raise PermissionDenied(f"{record.manifest.name} {record.manifest.version} is signed by key {known.id}, revoked")


def _check_names(store: Store, manifest: Manifest) -> None:
    """Tools are called by their names alone, and a file has one parser: so no two may have the same."""
    tools = {entry.name: "kernos itself" for entry in entry_points(group="kernos.tools")}
    kinds: dict[str, str] = {}
    for record in store.all():
        other = record.manifest
        if other.name != manifest.name:
            tools |= dict.fromkeys(other.tools, f"package {other.name}")
            kinds |= dict.fromkeys((kind for each in other.parsers.values() for kind in each.kinds), other.name)
    for name in manifest.tools:
        if name in tools:
            raise Busy(f"{manifest.name} brings a tool {name!r}, and {tools[name]} has one of that name")
    for kind in (kind for parser in manifest.parsers.values() for kind in parser.kinds):
        if kind in kinds:
            raise Busy(
                f"{manifest.name} parses {kind}, and so does {kinds[kind]}, which is installed: keep one of them "
                f"('kernos pkg remove {kinds[kind]}')"
            )


def _check_trust(manifest: Manifest, before: Installed | None, *, trust: bool) -> None:
    """The word of trust is given once for a kind of extension, and kept in the record."""
    had = before.manifest.extensions if before is not None and before.trusted else ()
    kinds = [kind for kind in manifest.extensions if kind not in had]
    if kinds and not trust:
        raise PermissionDenied(
            f"{manifest.name} brings {' and '.join(kinds)}, which run outside the sandbox with all that you may do: "
            "if you trust whoever signed it that far, say --trust"
        )


def _check_state(wheel: Wheel, before: Installed | None, *, upgrade: bool) -> None:
    if before is None and upgrade:
        raise NotFound(f"{wheel.name} is not installed: 'kernos pkg install' it")
    if before is None:
        return
    if before.sha256 == wheel.sha256:
        raise Busy(f"{wheel.name} {wheel.version} is installed, this very wheel")
    if not upgrade:
        have = before.manifest.version
        if have == wheel.version:
            raise Busy(f"{wheel.name} {have} is installed, from another wheel: 'kernos pkg upgrade' takes this one")
        raise Busy(f"{wheel.name} is installed, version {have}: 'kernos pkg upgrade' puts {wheel.version} in its place")


def _warnings(store: Store, wheel: Wheel, before: Installed | None) -> tuple[str, ...]:
    if before is not None:
        return ()
    names = [record.manifest.name for record in store.all()]
    return tuple(f"its name is nearly that of {name}, which is installed" for name in names if near(name, wheel.name))
