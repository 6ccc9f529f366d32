"""The package format: the manifest inside a wheel's metadata, and the record of one that is installed.

A package is an ordinary wheel with one file more, `NAME-VERSION.dist-info/kernos.json`: what it adds, what it asks for
and why. The installer (userland.pkg) writes records, the kernel reads them; neither runs any code of the package.
"""

import re
from typing import Final, Literal, TypeVar, final

import msgspec
from msgspec import Struct

from syscalls.known_rights import check_right
from syscalls.limits import ABI_VERSION
from syscalls.parsing import Parser, check_parsers
from syscalls.rights import Right
from syscalls.worker_limits import CallLimits

MANIFEST: Final = "kernos.json"
"""The name of the manifest in `*.dist-info/`."""
RECORD: Final = "package.json"
"""The name of the record in the folder of an installed package."""
USED: Final = "used.json"
"""What the package used of its rights; beside the record, and written by kernels."""
SITE: Final = "site"
"""What a release's folder holds of modules: it lies on sys.path of the package's workers."""
MANIFEST_BYTES_MAX: Final = 256 * 1024
ENTRIES_MAX: Final = 64
"""Of programs, tools, and so on, of each."""
ASKS_MAX: Final = 64
WHY_CHARS_MAX: Final = 300
LOCK_MAX: Final = 256
MEMORY_MIB_MIN: Final = 128
EXTENSIONS: Final = ("drivers", "policies", "commands", "sources")
"""What runs outside the sandbox, and therefore needs a word of trust."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_ENTRY = re.compile(r"[a-z](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:(?:[A-Za-z_]\w*|\*)?", re.ASCII)
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+_-]{0,62}")
_BLANK = re.compile(r"\{([a-z][a-z0-9_]{0,30})\}")
_AT = re.compile(r" - at `\$\.?([^`]*)`")
"""How the decoder says where it was."""
_DIGEST = re.compile(r"[0-9a-f]{64}")

_Decoded = TypeVar("_Decoded", bound=Struct)


@final
class Ask(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A right that a package asks for, and why, in a person's words. `{name}` in the right is a blank that whoever
    installs it fills in. One that is `optional` may be kept from it, and it works still."""

    right: str
    why: str
    optional: bool = False

    def __post_init__(self) -> None:
        if not self.why.strip() or len(self.why) > WHY_CHARS_MAX or not self.why.isprintable():
            raise ValueError(f"'{self.right}': say why, in one line of at most {WHY_CHARS_MAX} characters")
        check_right(_BLANK.sub(_sample(self.right), self.right))

    @property
    def blanks(self) -> tuple[str, ...]:
        """The names to be filled in."""
        return tuple(dict.fromkeys(_BLANK.findall(self.right)))

    def shown(self) -> Right:
        """The right as it stands, its blanks in angle brackets: for people, never to be granted."""
        return Right.parse(
            _BLANK.sub(lambda found: f"{'/' if _sample(self.right) == '/x' else ''}<{found[1]}>", self.right)
        )

    def filled(self, values: dict[str, str]) -> Right:
        """The right with its blanks filled. Raises ValueError for a value that is missing or means more than itself."""
        for name in self.blanks:
            value = values.get(name, "")
            if not value:
                raise ValueError(f"'{self.right}' has a blank: say --set {name}=…")
            if re.search(r"[*\s\x00-\x1f\x7f{}]", value):
                raise ValueError(f"{name}={value}: no wildcards, spaces or brackets")
            if self.right.startswith("file:{" + name) and not value.startswith("/"):
                raise ValueError(f"{name}={value}: write an absolute path, or one that begins with ./")
        return check_right(_BLANK.sub(lambda found: values[found[1]].rstrip("/") or "/", self.right))


@final
class Locked(Struct, frozen=True, forbid_unknown_fields=True):
    """One dependency: the very wheels that may be installed, by their sha256 in hex."""

    name: str
    version: str
    sha256: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or not _VERSION.fullmatch(self.version):
            raise ValueError(f"{self.name}=={self.version} is no locked dependency")
        if not self.sha256 or not all(_DIGEST.fullmatch(each) for each in self.sha256):
            raise ValueError(f"{self.name}=={self.version}: at least one sha256, in hex")


@final
class Limits(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the package says it needs at most; it is held to it. Memory and processor time are those of one worker, the
    rest of one run of a program with all that it starts."""

    memory_mib: int | None = None
    cpu_s: int | None = None
    wall_s: float | None = None
    tokens: int | None = None
    calls: int | None = None
    processes: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not 0 < value < 2**40:
                raise ValueError(f"{name} in limits is a number above 0")
        if self.memory_mib is not None and self.memory_mib < MEMORY_MIB_MIN:
            raise ValueError(f"memory_mib in limits: {MEMORY_MIB_MIN} at least, or no worker can start")


@final
class Manifest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a package adds and asks for. References are `MODULE:NAME`; of tools `MODULE:*` is all of a module.

    `abi` is the version of the system calls that it was built for, `tier` that of its workers (process.spawn says which
    there are); `call_limits` are those of each call of its tools and system calls. Programs, tools, parsers and system
    calls are plugins and run in the sandbox; drivers, policies, commands and model sources are extensions. Raises
    ValueError for what makes no sense."""

    name: str
    version: str
    abi: int = ABI_VERSION
    summary: str = ""
    programs: dict[str, str] = {}
    tools: dict[str, str] = {}
    parsers: dict[str, Parser] = {}
    syscalls: dict[str, str] = {}
    drivers: dict[str, str] = {}
    policies: dict[str, str] = {}
    commands: dict[str, str] = {}
    sources: dict[str, str] = {}
    rights: tuple[Ask, ...] = ()
    limits: Limits = Limits()
    call_limits: CallLimits = CallLimits()
    tier: Literal["pure", "threads"] = "pure"
    lock: tuple[Locked, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no package name: small letters, digits and '-', at most 64")
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f"{self.version!r} is no version")
        if self.abi < 1:
            raise ValueError(f"abi {self.abi}: it is 1 or more")
        for kind in ("programs", "tools", "syscalls", *EXTENSIONS):
            _check_entries(kind, getattr(self, kind))
        _check_entries("parsers", {name: parser.parse for name, parser in self.parsers.items()})
        check_parsers(self.parsers)
        if len(self.rights) > ASKS_MAX or len(self.lock) > LOCK_MAX:
            raise ValueError(f"at most {ASKS_MAX} rights and {LOCK_MAX} locked dependencies")
        if len({ask.right for ask in self.rights}) != len(self.rights):
            raise ValueError("a right is asked for twice")

    @property
    def extensions(self) -> tuple[str, ...]:
        """The kinds it has of what runs outside the sandbox."""
        return tuple(kind for kind in EXTENSIONS if getattr(self, kind))

    @property
    def blanks(self) -> tuple[str, ...]:
        """All that has to be filled in."""
        return tuple(dict.fromkeys(name for ask in self.rights for name in ask.blanks))


@final
class Installed(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The record of an installed package. `release` is the folder of its version, beside the record; `sha256` that of
    its wheel; `granted` the rights it holds; `values` what its blanks were filled with; `key` who signed it, and
    `publisher` who published it, by attestations that hold before Sigstore ("": nobody); `trusted` the word for
    extensions was given; `since` in seconds since 1970. `refused` are rights that were asked for and kept back, or
    taken back."""

    manifest: Manifest
    release: str
    sha256: str
    granted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    values: dict[str, str] = {}
    key: str = ""
    publisher: str = ""
    trusted: bool = False
    since: float = 0.0
    before: str = ""

    def __post_init__(self) -> None:
        for text in self.granted:
            check_right(text)
        if "/" in self.release or self.release in ("", ".", ".."):
            raise ValueError(f"{self.release!r} is no folder of a release")


@final
class _OfAbi(Struct, frozen=True):
    abi: int = 1


@final
class Use(Struct, frozen=True, omit_defaults=True):
    """Of one granted right: how many calls it let in, how many workers saw the files that it shows, when last (seconds
    since 1970)."""

    uses: int = 0
    shown: int = 0
    last: float = 0.0


@final
class Uses(Struct, frozen=True, omit_defaults=True):
    """What a package used of its rights since it was first counted, and what it was refused for want of a right."""

    since: float = 0.0
    rights: dict[str, Use] = {}
    denied: dict[str, int] = {}


def read_uses(data: bytes) -> Uses:
    """Reads the counters of a package. Raises ValueError."""
    return _decode(data, Uses)


def read_manifest(data: bytes) -> Manifest:
    """Reads a manifest. Raises ValueError with the key and what is wrong with it."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise ValueError(f"a manifest of {len(data)} bytes; at most {MANIFEST_BYTES_MAX}")
    check_abi(data)
    return _decode(data, Manifest)


def check_abi(data: bytes) -> None:
    """Raises ValueError for a manifest that was written for system calls of the future: its other keys mean nothing
    here."""
    abi = _decode(data, _OfAbi).abi
    if abi > ABI_VERSION:
        raise ValueError(f"it is built for version {abi} of the system calls, this kernos has {ABI_VERSION}: update it")


def read_record(data: bytes) -> Installed:
    """Reads the record of an installed package. Raises ValueError."""
    return _decode(data, Installed)


def write_json(value: Struct) -> bytes:
    """A manifest or record as a file: the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n"


def normal_name(name: str) -> str:
    """A project's name as it is compared: small, with '-' between its parts (the rule of the package index)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _decode(data: bytes, type_: type[_Decoded]) -> _Decoded:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
        raise ValueError(_AT.sub(r" (\1)", str(bad))) from None


def _check_entries(kind: str, entries: dict[str, str]) -> None:
    if len(entries) > ENTRIES_MAX:
        raise ValueError(f"{len(entries)} {kind}; at most {ENTRIES_MAX}")
    for name, reference in entries.items():
        if not _ENTRY.fullmatch(name):
            raise ValueError(f"{kind}: {name!r} is no name: small letters, digits, '_' and '-', a letter first")
        if not _REFERENCE.fullmatch(reference) or (kind not in ("tools", "syscalls") and reference[-1] in ":*"):
            raise ValueError(f"{kind}.{name} = {reference!r}: write MODULE:NAME")


def _sample(right: str) -> str:
    """Something that can stand in a blank."""
    return "/x" if right.startswith("file:{") else "x"
