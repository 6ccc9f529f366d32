"""kernos.toml as one checked struct; unknown keys are refused."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Literal, final

import msgspec
from msgspec import Struct

from kernel.accounts.price import Price
from syscalls.paths import PACKAGES, socket_path, state_dir
from syscalls.resources import ResourceName, parse_amount
from syscalls.rights import parse_rights
from syscalls.worker_limits import CallLimits, WorkerLimits

ROOT_ACCOUNT = "kernel"
"""The account above all others but the kernel's own overhead."""
ACCOUNT_NAME = re.compile(r"(?!own$|children$|\d+$)[\w.@-]{1,100}")


@final
class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A model to open at boot: see model.add. `driver` None is chosen from the origin."""

    origin: str
    driver: str | None = None
    options: dict[str, str] = {}


@final
class NetConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The web as the broker sees it: `hosts` are names of your own with their addresses, before DNS is asked; `ca_file`
    has the authorities to trust instead of the machine's (PEM); `options` are the driver's own."""

    hosts: dict[str, tuple[str, ...]] = {}
    ca_file: str = ""
    options: dict[str, str] = {}

    @property
    def driver_options(self) -> dict[str, str]:
        """As the fetch driver takes them."""
        hosts = "\n".join(f"{name} {','.join(addresses)}" for name, addresses in self.hosts.items())
        told = {"hosts": hosts, "ca_file": self.ca_file, **self.options}
        return {name: value for name, value in told.items() if value}


@final
class ToolConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A sandboxed tool: `program` is `MODULE:NAME`, `rights` are what it holds."""

    program: str
    rights: tuple[str, ...] = ()


@final
class AccountConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """`[accounts.NAME]`: the account of a user, or one that others name as their `parent`. What it used survives a
    restart. Money in the currency of the price table, generation time in seconds."""

    parent: str = ROOT_ACCOUNT
    tokens: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    generation: Decimal | None = None
    calls: int | None = None
    money: Decimal | None = None
    bytes: int | None = None
    processes: int | None = None
    contexts: int | None = None

    def limits(self) -> dict[ResourceName, int]:
        """Those that are set, in the units of the ABI. Raises ValueError for a number out of range."""
        given = ((word, getattr(self, word)) for word in self.__struct_fields__[1:])
        return dict(
            parse_amount(word, f"{amount:f}" if isinstance(amount, Decimal) else str(amount))
            for word, amount in given
            if amount is not None
        )


@final
class TraceConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What is written down of system calls: none (`off`; they are counted), all without arguments and results
    (`calls`), or all (`full`); of calls that succeed one in `every`. With `file` (0600) as JSON lines too, without
    arguments and results; at `rotate_bytes` it is renamed FILE.1 and so on, of which `files_max` are kept."""

    level: Literal["off", "calls", "full"] = "full"
    every: int = 1
    file: str = ""
    rotate_bytes: int = 64 << 20
    files_max: int = 4

    def __post_init__(self) -> None:
        if self.every < 1 or self.files_max < 1 or self.rotate_bytes < 4096:
            raise ValueError("in [trace], every and files_max are at least 1, rotate_bytes at least 4096")


@final
class ListenConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the gateway answers (HOST:PORT; "" is nowhere), how long the session of a client that is away is kept, how
    many connections it holds, and whether a certificate is asked of every client or a credential will do."""

    address: str = ""
    lease_s: float = 60.0
    connections_max: int = 256
    client_certificate: Literal["optional", "required"] = "optional"

    def __post_init__(self) -> None:
        if not 0 < self.lease_s <= 86400:
            raise ValueError("lease_s in [listen] is a number of seconds, more than 0, at most 86400")
        if self.connections_max < 1:
            raise ValueError("connections_max in [listen] must be at least 1")


@final
class HostConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel elsewhere, for `kernos --host`: its address, the file of its CA, and what this user shows it."""

    address: str
    ca: str = ""
    cert: str = ""
    key: str = ""
    credential: str = ""
    server_name: str = ""


@final
class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    """Every bound of the kernel. Relations between them are asserted at boot."""

    processes_max: int = 4096
    sessions_max: int = 512
    shared_processes_max: int = 256
    contexts_max: int = 8192
    mailbox_messages_max: int = 256
    mailbox_bytes_max: int = 4 << 20
    pipes_max: int = 64
    alarms_max: int = 64
    trace_records_max: int = 65536
    trace_bytes_max: int = 16 << 20
    queue_max: int = 1024
    events_max: int = 16384
    log_lines_max: int = 4096
    grace_s: float = 2.0
    handshake_s: float = 5.0
    host_restarts_max: int = 5
    host_ready_s: float = 120.0
    worker_ready_s: float = 10.0
    stream_items_max: int = 8192
    open_files_max: int = 64
    fetches_max: int = 16
    device_handles_max: int = 64
    file_io_s: float = 30.0
    page_tokens_max: int = 512
    high_water: float = 0.9
    low_water: float = 0.6
    guests_max: int = 256
    guests_each_max: int = 64
    guest_bytes_max: int = 4 << 20
    tickets_max: int = 256
    own_workers_max: int = 8
    parses_max: int = 4
    parse_s: float = 30.0
    parsed_bytes_max: int = 8 << 20
    policy_s: float = 0.25

    def __post_init__(self) -> None:
        if not 0.1 <= self.low_water < self.high_water <= 1.0:
            raise ValueError("low_water must be below high_water, both between 0.1 and 1")
        for name in ("grace_s", "handshake_s", "host_ready_s", "worker_ready_s", "file_io_s", "parse_s", "policy_s"):
            if not 0 <= getattr(self, name) < 1e6:
                raise ValueError(f"{name} in [bounds] is a number of seconds, 0 or more")
        if any(getattr(self, name) < 1 for name in self.__struct_fields__ if name.endswith("_max")):
            raise ValueError("every count in [bounds] must be at least 1")
        if self.guest_bytes_max < 1 << 18:
            raise ValueError("guest_bytes_max in [bounds] is at least 262144: frames and their acknowledgements fit in")


TINY_BOUNDS = Bounds(
    processes_max=8, sessions_max=4, shared_processes_max=2, contexts_max=4, mailbox_messages_max=2,
    mailbox_bytes_max=4096,
    trace_records_max=64, trace_bytes_max=65536, queue_max=2,
    events_max=64, log_lines_max=32, stream_items_max=16, page_tokens_max=32,
)  # fmt: skip


@final
class RequestsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Who answers when a program asks for a right: what `allow` covers is granted, what `deny` touches is refused, the
    rest waits `wait_s` seconds for the operator."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    wait_s: float = 300.0

    def __post_init__(self) -> None:
        parse_rights((*self.allow, *self.deny))
        if not 0 < self.wait_s <= 7 * 86400:
            raise ValueError("wait_s in [requests] is a number of seconds, more than 0 and at most a week")


DEFAULT_LIMITS = WorkerLimits(
    cpu_s=3600, memory_bytes=1 << 30, processes=64, files=256, file_bytes=1 << 40, disk_bytes=1 << 35,
    output_bytes_s=1 << 20,
)  # fmt: skip
"""Of each worker, where `[limits]` does not say otherwise."""


@final
class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of kernos.toml, with what the command line said on top. `scheduling` and `eviction` name policies;
    `trust` names the extensions whose code the kernel and the command line may load. `call_limits` are of each call of
    the tools of that name, of all that the package of that name brings, or of every tool (`"*"`)."""

    socket: str = ""
    state: str = ""
    default_model: str = ""
    models: dict[str, ModelConfig] = {}
    scheduling: str = "fair"
    eviction: str = "oldest"
    trust: tuple[str, ...] = ()
    embedding: str = "minilm"
    store: str = "chroma"
    files: str = "files"
    file_threads: int = 32
    fetch: str = "fetch"
    net: NetConfig = NetConfig()
    tools: dict[str, ToolConfig] = {}
    call_limits: dict[str, CallLimits] = {}
    programs: dict[str, str] = {}
    packages: str = ""
    requests: RequestsConfig = RequestsConfig()
    accounts: dict[str, AccountConfig] = {}
    prices: dict[str, Price] = {}
    bounds: Bounds = Bounds()
    limits: WorkerLimits = WorkerLimits()
    trace: TraceConfig = TraceConfig()
    weak_sandbox: tuple[str, ...] = ()
    listen: ListenConfig = ListenConfig()
    hosts: dict[str, HostConfig] = {}

    def __post_init__(self) -> None:
        for name, account in self.accounts.items():
            try:
                account.limits()
            except ValueError as bad:
                raise ValueError(f"[accounts.{name}]: {bad}") from None
            if not ACCOUNT_NAME.fullmatch(name):
                raise ValueError(
                    f"[accounts.{name}]: letters, digits, '_', '.', '-' and '@'; not 'own', 'children' or digits alone"
                )
            self._check_parents(name)

    def _check_parents(self, name: str) -> None:
        seen = [name]
        while seen[-1] != ROOT_ACCOUNT:
            above = self.accounts[seen[-1]].parent
            if above != ROOT_ACCOUNT and above not in self.accounts:
                raise ValueError(f"[accounts.{seen[-1]}]: its parent {above!r} is no account of this file")
            if above in seen:
                raise ValueError(f"[accounts.{name}]: its parents lead back to itself: {' < '.join((*seen, above))}")
            seen.append(above)

    @property
    def worker_limits(self) -> WorkerLimits:
        """What sessions may give the workers of what they spawn, and give them unless they say less."""
        said = {name: amount for name, amount in msgspec.structs.asdict(self.limits).items() if amount is not None}
        return msgspec.structs.replace(DEFAULT_LIMITS, **said)

    @property
    def socket_file(self) -> Path:
        return Path(self.socket) if self.socket else socket_path()

    @property
    def state_folder(self) -> Path:
        return Path(self.state) if self.state else state_dir()

    @property
    def packages_folder(self) -> Path:
        """Where installed packages lie: a folder that kernels may share."""
        return Path(self.packages) if self.packages else self.state_folder / PACKAGES


class ConfigError(Exception):
    """The configuration cannot be used; the sentence says which key and why."""


def load(path: Path | None) -> Config:
    """Reads kernos.toml (None: defaults). Raises ConfigError naming the file and the key."""
    if path is None:
        return Config()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Config)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; leave --config out for the defaults") from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, ValueError) as bad:
        raise ConfigError(f"{path}: {bad}") from None
