"""The device registry: models by name and version, the embedding model, the store, the tools."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import final

import trio

from kernel.accounts.account import Accounts
from kernel.config import Config, ModelConfig
from kernel.hosts.fetch import Web
from kernel.hosts.files import Files
from kernel.hosts.host import Host
from kernel.hosts.host_books import HostBooks
from kernel.hosts.host_process import StartHost, start_child
from kernel.hosts.hosted import HostedEmbedding, HostedModel, HostedStore
from kernel.hosts.ports import EmbeddingPort, ModelPort, StorePort
from kernel.models import Model, ModelRecord, Models
from kernel.truth import Truth
from kernel.watch.trace import Trace
from kernel.workers.tool import Tool
from syscalls import driver
from syscalls.calls.device import DeviceInfo, DeviceKind
from syscalls.calls.model import ModelInfo
from syscalls.errors import Invalid, NotFound, SyscallError
from syscalls.hooks import Source

SHIPPED_MODEL = "kernos-tiny"
STORE = "store"
"""By this name, too, programs find the store."""


@final
class Registry:
    """All devices. Hosts start when they are first needed; the default model starts at boot."""

    def __init__(
        self,
        *,
        config: Config,
        trace: Trace,
        truth: Truth,
        accounts: Accounts,
        source: Callable[[str], Source | None] = lambda origin: None,
        start_host: StartHost = start_child,
    ) -> None:
        self._config = config
        self._trace = trace
        self._accounts = accounts
        self._models = Models(truth, source)
        self._nursery: trio.Nursery | None = None
        self._start_host = start_host
        self._logs = config.state_folder / "logs"
        self.web = Web(self._host("fetch", config.fetch, "fetch", origin="web", options=config.net.driver_options))
        self.tools: dict[str, Tool] = {}
        self._embedding = self._host("embedding", config.embedding, "embedding", origin=config.embedding)
        self._store = self._host("store", config.store, "store", origin=str(config.state_folder / "store"))
        options = {"never": str(config.state_folder), "threads": str(config.file_threads)}
        self.files = Files(
            self._host("files", config.files, "files", origin="files", options=options), io_s=config.bounds.file_io_s
        )

    async def boot(self, nursery: trio.Nursery) -> None:
        """Reads the registered models, starts the supervisors, and wants the default model."""
        self._nursery = nursery
        nursery.start_soon(self._embedding.run)
        nursery.start_soon(self._store.run)
        nursery.start_soon(self.files.host.run)
        self.files.attach(nursery)
        nursery.start_soon(self.web.host.run)
        self.web.attach(nursery)
        for record in await self._models.registered():
            self._admit(record)
        configured = self._config.models or {SHIPPED_MODEL: ModelConfig(origin=SHIPPED_MODEL)}
        for name, model in configured.items():
            if not self._models.knows(name, model):
                self._admit(self._models.fresh(name, model.origin, model.driver, model.options))
        self._models.default = self._config.default_model or next(iter(configured))
        entry = self._models.find(None)
        entry.host.want()
        nursery.start_soon(self._learn, entry)

    async def add(self, name: str, origin: str, driver_name: str | None, options: dict[str, str]) -> ModelInfo:
        """Registers a model once its driver has opened it. Raises what the driver says is wrong; nothing is
        registered then."""
        if not name or not all(char.isalnum() or char in "-_." for char in name):
            raise Invalid(f"{name!r} is no model name: letters, digits, '-', '_' and '.' only")
        entry = self._make(self._models.fresh(name, origin, driver_name, options))
        assert self._nursery is not None
        scope = trio.CancelScope()
        self._nursery.start_soon(_supervise, entry.host, scope)
        settled: Model | None = None
        try:
            settled = await self._models.settle(entry, await entry.host.ready())
        finally:
            self._models.forget_claim(entry.record)
            if settled is not entry:
                scope.cancel()
        return self.info(settled.record.ref)

    async def load(self, name: str) -> ModelInfo:
        """Waits until a model is ready. Raises why it cannot be."""
        entry = self._models.find(name)
        opened = await entry.host.ready()
        if not entry.record.checksum:  # named in the configuration, and never opened before
            entry = await self._models.settle(entry, opened)
        return self.info(entry.record.ref)

    async def unload(self, name: str, *, timeout_s: float, force: bool) -> ModelInfo:
        """Ends the host of a model until somebody needs it again: see Host.unload."""
        entry = self._models.find(name)
        await entry.host.unload(timeout_s=timeout_s, force=force)
        return self.info(entry.record.ref)

    def model(self, name: str | None) -> ModelPort:
        """The port of a model; its host is started. Raises NotFound (ENOENT) listing what there is."""
        entry = self._models.find(name)
        entry.host.want()
        return entry.port

    async def opened(self, name: str | None) -> ModelPort:
        """As `model`, once it is loaded. Raises why it cannot be."""
        entry = self._models.find(name)
        await entry.host.ready()
        return entry.port

    def embedding(self) -> EmbeddingPort:
        return HostedEmbedding(self._config.embedding, self._embedding)

    def store(self) -> StorePort:
        return HostedStore(self._store)

    def on_store_reset(self, callback: Callable[[], None]) -> None:
        self._store.on_restart(callback)

    def names(self, model: str | None) -> tuple[str, ...]:
        """The resource names of a model, the one that embeds included, for the check of rights."""
        if model == self.embedder:
            return (f"model:{model}",)
        record = self._models.find(model).record
        return (f"model:{record.name}", f"model:{record.ref}")

    @property
    def embedder(self) -> str:
        """The name of the embedding model."""
        return self._config.embedding

    @property
    def default(self) -> str:
        """The name of the default model."""
        return self._models.default

    def info(self, name: str) -> ModelInfo:
        """One model as `kernos model show` tells it."""
        entry = self._models.find(name)
        record = entry.record
        return ModelInfo(
            ref=record.ref,
            driver=record.driver,
            origin=record.origin,
            checksum=record.checksum,
            can=record.can,
            window_tokens=record.window_tokens,
            parameters=record.parameters,
            slots=record.slots,
            state=entry.host.state,
            default=entry is self._models.find(None),
        )

    def models(self) -> tuple[ModelInfo, ...]:
        """All models, by name and version."""
        return tuple(self.info(ref) for ref, _ in self._models.items())

    def devices(self) -> Iterator[DeviceInfo]:
        """Every device, one line each."""
        for ref, entry in self._models.items():
            yield _describe(ref, "model", entry.host, slots=entry.record.slots)
        yield _describe(self._config.embedding, "embedding", self._embedding)
        yield _describe(self._config.store, "store", self._store)
        yield _describe("files", "files", self.files.host)
        yield _describe("fetch", "fetch", self.web.host)
        for name, tool in sorted(self.tools.items()):
            yield DeviceInfo(
                name=name, kind="tool", driver=tool.program, state=tool.state, busy=tool.busy, restarts=tool.restarts,
                host=tool.process.worker_pid if tool.process else 0, methods=tool.methods, streaming=tool.streaming,
                detail=str(tool.failure or ""),
            )  # fmt: skip

    def kind(self, name: str) -> DeviceKind:
        """What kind of device a name is. Raises NotFound (ENOENT) listing what can be opened."""
        if name in self.tools:
            return "tool"
        if self.is_store(name):
            return "store"
        if name == self._config.embedding:
            return "embedding"
        try:
            self._models.find(name)
        except NotFound:
            there = ", ".join(sorted([*self.tools, self._config.store]))
            raise NotFound(f"no device {name!r}; there are: {there}") from None
        return "model"

    @property
    def store_name(self) -> str:
        """What the store is called."""
        return self._config.store

    def is_store(self, name: str) -> bool:
        """Whether a name is the store's; `store` is, whatever it is called."""
        return name in (self._config.store, STORE) and name not in self.tools

    def device_names(self, device: str, method: str = "") -> tuple[str, ...]:
        """The resource names of a device, or of one of its methods, for the check of rights."""
        if self.is_store(device):
            names = tuple(dict.fromkeys((device, self._config.store)))
            if method:
                return tuple(f"store:{name}.{method}" for name in names)
            return (f"device:{device}", *(f"store:{name}" for name in names))
        return (f"tool:{device}.{method}",) if method else (f"device:{device}", f"tool:{device}")

    def tool(self, name: str) -> Tool:
        """A tool by name. Raises NotFound (ENOENT) listing what there is."""
        try:
            return self.tools[name]
        except KeyError:
            known = ", ".join(sorted(self.tools)) or "none"
            raise NotFound(f"no tool {name!r}; there are: {known}") from None

    def hosts(self) -> Iterator[Host]:
        """Every driver host there may be."""
        yield from (entry.host for _, entry in self._models.items())
        yield self._embedding
        yield self._store
        yield self.files.host
        yield self.web.host

    def _make(self, record: ModelRecord) -> Model:
        host = self._hosted(record.ref, record.driver, record.asks())
        return Model(record, host, HostedModel(record.ref, host, trace=self._trace))

    def _admit(self, record: ModelRecord) -> Model:
        entry = self._make(record)
        self._models.add(entry)
        assert self._nursery is not None
        self._nursery.start_soon(entry.host.run)
        return entry

    async def _learn(self, entry: Model) -> None:
        """Completes the record of a model named in the configuration, once it is loaded."""
        try:
            await self._models.settle(entry, await entry.host.ready())
        except SyscallError as failed:  # whoever asks for the model is told; here it is only noted
            self._trace.event("model_failed", model=entry.record.ref, error=failed)

    def _host(
        self, name: str, driver_name: str, kind: driver.Kind, *, origin: str, options: dict[str, str] | None = None
    ) -> Host:
        return self._hosted(name, driver_name, driver.Open(kind=kind, origin=origin, options=options or {}))

    def _hosted(self, name: str, driver_name: str, args: driver.Open) -> Host:
        return Host(
            name,
            driver_name,
            args,
            bounds=self._config.bounds,
            trace=self._trace,
            logs=self._logs,
            start=self._start_host,
            books=HostBooks(partial(self._overhead, name)),
        )

    def _overhead(self, device: str, read: int, generated: int) -> None:
        """What hosts did and nobody was charged for is the kernel's to pay."""
        self._trace.event("recovered", device=device, read=read, generated=generated)
        self._accounts.charge(self._accounts.overhead, self._accounts.cost(device, read, generated), model=device)


async def _supervise(host: Host, scope: trio.CancelScope) -> None:
    with scope:
        await host.run()


def _describe(name: str, kind: driver.Kind, host: Host, *, slots: int = 0) -> DeviceInfo:
    return DeviceInfo(
        name=name,
        kind=kind,
        driver=host.driver,
        state=host.state,
        host=host.pid if host.state == "ready" else 0,
        restarts=host.restarts,
        busy=host.busy,
        slots=slots,
        detail=str(host.failure or ""),
    )
