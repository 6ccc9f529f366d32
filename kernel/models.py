"""The models that this machine knows: records by name and version, which files are which version, kept in the truth."""

from collections.abc import Callable
from typing import final

import apsw
import msgspec
from msgspec import Struct

from kernel.config import ModelConfig
from kernel.hosts.host import Host
from kernel.hosts.hosted import HostedModel
from kernel.truth import Truth
from syscalls.driver import Open, Opened
from syscalls.errors import NotFound
from syscalls.hooks import Source

FAMILY = "model"


@final
class Opens(Struct, frozen=True):
    """What stands behind an origin that an extension's source knew: the driver's own origin, and options."""

    origin: str
    options: dict[str, str] = {}


@final
class ModelRecord(Struct, frozen=True, kw_only=True):
    """A registered model, as the truth keeps it."""

    name: str
    version: int
    origin: str
    driver: str
    options: dict[str, str] = {}
    checksum: str = ""
    opens: Opens | None = None
    can: tuple[str, ...] = ()
    window_tokens: int = 0
    parameters: int = 0
    slots: int = 0

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    def asks(self) -> Open:
        """What its driver is asked to open."""
        opens = self.opens or Opens(self.origin)
        return Open(kind="model", origin=opens.origin, options={**opens.options, **self.options})


@final
class Model:
    """A record, and the host that serves it once it is needed."""

    def __init__(self, record: ModelRecord, host: Host, port: HostedModel) -> None:
        self.record = record
        self.host = host
        self.port = port


@final
class Models:
    """By name and version. A version number stands for the same files for ever, and is given to one of two that are
    registered at the same time."""

    def __init__(self, truth: Truth, source: Callable[[str], Source | None] = lambda origin: None) -> None:
        self._truth = truth
        self._source = source
        self._known: dict[str, Model] = {}
        self._claimed: set[tuple[str, int]] = set()
        self.default = ""

    async def registered(self) -> tuple[ModelRecord, ...]:
        """What the truth holds."""
        bodies = await self._truth.read(_registered)
        return tuple(msgspec.msgpack.decode(body, type=ModelRecord) for body in bodies)

    def items(self) -> list[tuple[str, Model]]:
        """All of them, by reference."""
        return sorted(self._known.items())

    def add(self, entry: Model) -> None:
        """Makes it known under its reference."""
        self._known[entry.record.ref] = entry

    def find(self, name: str | None) -> Model:
        """By reference, or the newest version by name; None is the default. Raises NotFound (ENOENT) listing all."""
        wanted = name or self.default
        if wanted in self._known:
            return self._known[wanted]
        versions = [entry for entry in self._known.values() if entry.record.name == wanted]
        if not versions:
            known = ", ".join(sorted(self._known)) or "none"
            raise NotFound(f"no model {wanted!r}; registered: {known}; 'kernos model add NAME FOLDER' adds one")
        return max(versions, key=lambda entry: entry.record.version)

    def knows(self, name: str, model: ModelConfig) -> bool:
        """Whether the newest registered version of `name` came from the same place in the same way."""
        known = [e.record for e in self._known.values() if e.record.name == name]
        newest = max(known, key=lambda record: record.version, default=None)
        return newest is not None and (newest.origin, newest.options) == (model.origin, model.options)

    def fresh(self, name: str, origin: str, driver_name: str | None, options: dict[str, str]) -> ModelRecord:
        """The record of a version that nobody has yet; claimed until `forget_claim`. Where no driver is named, a
        source of an extension may know the origin; raises what that says is wrong with it."""
        source = None if driver_name else self._source(origin)
        opens = None if source is None else Opens(source.origin, dict(source.options))
        chosen = driver_name or (driver_of(origin) if source is None else source.driver)
        version = self._next_version(name)
        self._claimed.add((name, version))
        return ModelRecord(name=name, version=version, origin=origin, driver=chosen, options=options, opens=opens)

    def forget_claim(self, record: ModelRecord) -> None:
        """It is known by now, or never will be."""
        self._claimed.discard((record.name, record.version))

    async def settle(self, entry: Model, opened: Opened) -> Model:
        """Writes down what the driver found. Raises IOFailed (EIO), and nothing has changed, if it cannot be written.

        The same files from the same place are the version they were; files that changed since they were registered are
        a new one."""
        twin = self._twin(entry, opened)
        if twin is not None:
            return twin
        found = msgspec.structs.replace(
            entry.record,
            checksum=opened.checksum,
            can=opened.can,
            window_tokens=opened.window_tokens,
            parameters=opened.parameters,
            slots=opened.slots,
        )
        if entry.record.checksum and entry.record.checksum != opened.checksum:
            found = msgspec.structs.replace(found, version=self._next_version(found.name))
        fact = (FAMILY, found.ref, msgspec.msgpack.encode(found))
        await self._truth.commit(lambda truth: truth.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", fact))
        if self._known.get(entry.record.ref) is entry:
            del self._known[entry.record.ref]
        entry.record = found
        self.add(entry)
        return entry

    def _twin(self, entry: Model, opened: Opened) -> Model | None:
        """Another registered version that is the very same model."""
        for other in self._known.values():
            same = (other.record.name, other.record.origin) == (entry.record.name, entry.record.origin)
            if other is not entry and same and opened.checksum and other.record.checksum == opened.checksum:
                return other
        return None

    def _next_version(self, name: str) -> int:
        known = (e.record.version for e in self._known.values() if e.record.name == name)
        claimed = (version for claimer, version in self._claimed if claimer == name)
        return max((*known, *claimed), default=0) + 1


def driver_of(origin: str) -> str:
    """The driver for an origin: an http(s) URL is a server, `sim:` a simulation, anything else weights for torch."""
    if origin.startswith(("http://", "https://")):
        return "openai"
    return "sim" if origin.startswith("sim:") else "torch"


def _registered(truth: apsw.Connection) -> list[bytes]:
    rows = truth.execute("SELECT body FROM facts WHERE family = ? ORDER BY name", (FAMILY,))
    return [body for (body,) in rows]
