"""`Sys`: what a program is handed, and through which it reaches everything."""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, final

from msgspec import Struct

from syscalls.calls import clock, context, message, model, net, process
from syscalls.calls.clock import Time
from syscalls.calls.context import Opened
from syscalls.calls.message import Message
from syscalls.calls.process import Budget, Exit, ProcessInfo
from syscalls.limits import MIB
from syscalls.link.ticket import Stream
from syscalls.row import Row
from syscalls.turns import ToolSpec, Turn
from syscalls.worker_limits import CallLimits, WorkerLimits
from userland.sdk import parsing, plugin
from userland.sdk.account import Account
from userland.sdk.capability import Handle, Rights
from userland.sdk.child import Child
from userland.sdk.context import Answer, Context
from userland.sdk.contexts import Contexts
from userland.sdk.device import Collection, Device, ToolHandle, ToolReply, open_device
from userland.sdk.door import Door, row_of
from userland.sdk.encoding import decode, encode
from userland.sdk.files import Files
from userland.sdk.inbox import Inbox
from userland.sdk.listening import Subscription, Ticks
from userland.sdk.models import Models
from userland.sdk.pipe import Pipe
from userland.sdk.program import Program
from userland.sdk.signalling import Signalling
from userland.sdk.watch import Kernel
from userland.sdk.web import Fetch, request

STDIN_TOPIC = "stdin"
"""Lines typed at the program come as messages of this topic; None is the end of input."""


@final
class Letter(Struct, frozen=True):
    """A message that was taken from the mailbox."""

    sender: int
    body: Any
    topic: str = ""


@final
class Sys:
    """The system calls of one process. Errors are the classes of syscalls.errors; `call` reaches the rest of the table.

    `pid` is this process, `model` the default of its contexts (None: the kernel's), `seed` a number to be random by.
    """

    def __init__(
        self, door: Door, *, pid: int, signals: Inbox | None = None, model: str | None = None, seed: int = 0
    ) -> None:
        self._door = door
        self._signals = signals
        self.pid = pid
        self.model = model
        self.seed = seed

    @property
    def rights(self) -> Rights:
        """What this process may do, as handles that it can hand on; what it may ask for."""
        return Rights(self._door)

    # The table.

    def call(self, row: Row | str, args: Struct | None = None, /, **fields: Any) -> Coroutine[Any, Any, Any]:
        """Any row that does not stream, by name or row, with its arguments as a struct or as fields.

        `await sys.call("process.list", all=True)`
        """
        row = row_of(row)
        assert not row.streams, f"{row.name} streams: use sys.stream"
        return self._door.call(row, row.args(**fields) if args is None else args)

    def stream(self, row: Row | str, args: Struct | None = None, /, **fields: Any) -> Stream:
        """Any row that streams: `async for item in sys.stream("kernel.trace", pid=7)`; `close()` gives up the rest."""
        row = row_of(row)
        assert row.streams, f"{row.name} does not stream: use sys.call"
        return self._door.stream(row, row.args(**fields) if args is None else args)

    # Conversations and models.

    async def open(
        self,
        name: str | None = None,
        *,
        model: str | None = None,
        tools: tuple[ToolSpec, ...] = (),
        reserve_tokens: int = 256,
    ) -> Context:
        """A conversation with a model; under a `name` it can be opened again. Raises NotFound (ENOENT)."""
        args = context.Open(name=name, model=model, tools=tools, reserve_tokens=reserve_tokens)
        opened: Opened = await self._door.call(context.OPEN, args)
        return Context(self._door, opened)

    def generate(self, *turns: Turn, **options: Any) -> Answer:
        """One answer without a conversation; nothing is kept. Options are those of model.generate."""
        return Answer(self._door, model.GENERATE, model.OneShot(turns=turns, **options))

    @property
    def contexts(self) -> Contexts:
        """The named conversations: `async for each in sys.contexts`, and `forget`."""
        return Contexts(self._door)

    @property
    def models(self) -> Models:
        """The models of the machine: list, load, unload, score, tokenize."""
        return Models(self._door)

    async def embed(self, *texts: str, model_name: str | None = None) -> list[tuple[float, ...]]:
        """A unit vector for each text."""
        got: model.Embedded = await self._door.call(model.EMBED, model.Embed(texts=texts, model=model_name))
        floats = memoryview(got.vectors).cast("f")  # both ends are little-endian machines
        return [tuple(floats[at : at + got.dimensions]) for at in range(0, len(floats), got.dimensions)]

    # Tools.

    def tool(self, name: str) -> ToolHandle:
        """A tool device: `await sys.tool("calculator").calculate(expression="1+1")`."""
        return ToolHandle(Device(self._door, name))

    async def call_tool(
        self,
        device_name: str,
        method: str,
        /,
        *,
        call_timeout_s: float | None = None,
        call_limits: CallLimits | None = None,
        **arguments: Any,
    ) -> ToolReply:
        """Calls a tool; the reply has its value and the text for a model. Raises what the tool failed with, OverLimit
        (ELIMIT) for what runs over `call_limits`."""
        device = Device(self._door, device_name)
        return await device.invoke(method, arguments, timeout_s=call_timeout_s, limits=call_limits)

    async def call_plugin(self, name: str, /, *, call_lend: Sequence[Handle] = (), **arguments: Any) -> ToolReply:
        """A system call that an installed package adds, by its name `PACKAGE.CALL`; `call_lend` are capabilities that
        it may use while it serves this call. Raises PermissionDenied (EPERM) without `syscall:NAME call`, NoSyscall
        (ENOSYS), what it failed with."""
        return await plugin.call(self._door, name, arguments, call_lend)

    async def plugin_calls(self, package: str | None = None) -> plugin.PluginCalls:
        """The system calls that installed packages add, for programs and as tools for models."""
        return await plugin.listed(self._door, package)

    async def parsers(self) -> parsing.Parsers:
        """The parsers of documents that installed packages bring: `await parsers(data, file="a.html")` gives text."""
        return await parsing.listed(self._door)

    def device(self, name: str) -> Device:
        """A tool device without a handle, for `call` and `stream`."""
        return Device(self._door, name)

    async def open_device(self, name: str, *, exclusive: bool = False) -> Device:
        """A tool device with a handle, for this process alone if `exclusive`. Raises Busy (EBUSY)."""
        return await open_device(self._door, name, exclusive=exclusive)

    async def collection(self, name: str, *, exclusive: bool = False) -> Collection:
        """A collection of the machine's store that belongs to this program's principal."""
        return Collection(self._door, await open_device(self._door, "store", exclusive=exclusive, collection=name))

    # Files.

    @property
    def files(self) -> Files:
        """Files of the host below the folders that rights name, and the private tree `~`."""
        return Files(self._door)

    # The web.

    def fetch(
        self,
        url: str,
        *,
        method: net.Method = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | str = b"",
        json: Any = None,
        timeout_s: float = 30.0,
        bytes_max: int = 8 * MIB,
        redirects: int = 5,
    ) -> Fetch:
        """`await sys.fetch(url)` gives an answer with `status`, `text`, `body`, `json()`; see Fetch for pieces.

        Needs the right `net:https://HOST/** get`. A status of 400 or 500 is an answer, no error."""
        return Fetch(self._door, request(url, method, headers, body, json, timeout_s, bytes_max, redirects))

    # Processes.

    async def spawn(
        self,
        program: Program | str,
        *args: Any,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        rights: tuple[str, ...] | None = None,
        budget: Budget | None = None,
        limits: WorkerLimits | None = None,
        nice: int = 0,
        model: str | None = None,
        detach: bool = False,
        shared: bool | None = None,
        ask: bool = False,
        packages: tuple[str, ...] | None = None,
        tier: process.Tier | None = None,
    ) -> Child:
        """Starts a program: the name of an installed one, `/absolute/file.py:NAME`, or a decorated function.

        `args` and `kwargs` are the program's; the rest says how it runs. `rights` and `packages` None hand on the
        caller's own. `tier` None is what a decorated function says.
        """
        spawned: process.Spawned = await self._door.call(
            process.SPAWN,
            process.Spawn(
                program=program.ref if isinstance(program, Program) else program,
                args=encode(args, what="the arguments are a"),
                kwargs=encode(kwargs or {}, what="the arguments are a"),
                name=name,
                rights=rights,
                budget=budget,
                limits=limits,
                nice=nice,
                model=model,
                detach=detach,
                shared=shared if shared is not None else isinstance(program, Program) and program.shared,
                ask=ask,
                packages=packages,
                tier=tier or (program.tier if isinstance(program, Program) else "pure"),
            ),
        )
        return Child(self._door, spawned.pid)

    async def spawn_many(
        self, program: Program | str, args: Iterable[Sequence[Any]], *, shared: bool | None = None, **options: Any
    ) -> list[Child]:
        """As many processes as `args` has arguments for, all in one call: all of them, or none. Options are those of
        `spawn`, the same for each."""
        spawned: process.SpawnedMany = await self._door.call(
            process.SPAWN_MANY,
            process.SpawnMany(
                program=program.ref if isinstance(program, Program) else program,
                args=tuple(encode(each, what="the arguments are a") for each in args),
                kwargs=encode(options.pop("kwargs", None) or {}, what="the arguments are a"),
                shared=shared if shared is not None else isinstance(program, Program) and program.shared,
                **options,
            ),
        )
        return [Child(self._door, pid) for pid in spawned.pids]

    async def wait_any(self, *, timeout_s: float | None = None) -> Exit:
        """How the first child to end has ended. Raises NoSuchProcess (ESRCH) when there is none."""
        exit_: Exit = await self._door.call(process.WAIT, process.Wait(pid=0, timeout_s=timeout_s))
        return exit_

    async def self(self) -> ProcessInfo:
        """This process as `ps` shows it."""
        info: ProcessInfo = await self._door.call(process.SELF, process.Self())
        return info

    async def children(self) -> tuple[ProcessInfo, ...]:
        """The processes that this one started and that were not reaped yet."""
        table: process.Processes = await self._door.call(process.LIST, process.ListProcesses())
        return tuple(info for info in table.processes if info.ppid == self.pid)

    async def note(self, text: str, *, done: int = 0, total: int = 0) -> None:
        """Says what this process is at, for `ps` and `top`."""
        await self._door.call(process.NOTE, process.Note(note=text, done=done, total=total))

    def account(self, address: str | int | None = None) -> Account:
        """The account of this process, of another by its pid, or one by its name."""
        return Account(self._door, address)

    @property
    def kernel(self) -> Kernel:
        """The kernel's log, events and metrics."""
        return Kernel(self._door)

    # Messages and signals.

    async def send(self, pid: int, body: Any, *, topic: str = "", timeout_s: float | None = None) -> None:
        """Puts a message into the mailbox of `pid`; waits while that is full."""
        raw = encode(body, what="the message is a value of type")
        await self._door.call(message.SEND, message.Send(pid=pid, body=raw, topic=topic, timeout_s=timeout_s))

    async def receive(self, topic: str | None = None, *, timeout_s: float | None = None) -> Letter:
        """The oldest message, of `topic` if one is given. Raises TimedOut (ETIME)."""
        got: Message = await self._door.call(message.RECEIVE, message.Receive(topic=topic, timeout_s=timeout_s))
        return Letter(got.sender, decode(got.body), got.topic)

    async def read_line(self) -> str | None:
        """The next line typed at this program, without its end; None when there will be no more."""
        line = (await self.receive(STDIN_TOPIC)).body
        return None if line is None else str(line).rstrip("\r\n")

    async def pipe(self, id_: int | None = None, *, capacity_bytes: int = 64 * 1024) -> Pipe:
        """A new pipe with both ends here; with `id_` the one of which this process was given an end."""
        if id_ is None:
            made: message.Piped = await self._door.call(message.PIPE, message.Pipe(capacity_bytes=capacity_bytes))
            id_ = made.pipe
        return Pipe(self._door, id_)

    async def publish(self, topic: str, body: Any) -> int:
        """Tells whoever listens to `topic` now; how many that are."""
        raw = encode(body, what="the publication is a value of type")
        told: message.Published = await self._door.call(message.PUBLISH, message.Publish(topic=topic, body=raw))
        return told.subscribers

    def subscribe(self, topic: str, *, queue_max: int = 256) -> Subscription:
        """Listens to `topic`: see Subscription. What comes while it is slow waits, at most `queue_max`."""
        return Subscription(self._door.stream(message.SUBSCRIBE, message.Subscribe(topic=topic, queue_max=queue_max)))

    @property
    def signalling(self) -> Signalling:
        """Groups, and what signals do to this process: `await sys.signalling.choose("USR1", "hold")`."""
        return Signalling(self._door)

    def signals(self) -> Inbox:
        """`async for name in sys.signals()`: USR1, CHLD, QUOTA, … as they come. TERM cancels the program instead."""
        assert self._signals is not None, "signals reach programs in a worker only"
        return self._signals

    # Time.

    async def sleep(self, seconds: float) -> None:
        """Waits on the kernel's clock."""
        await self._door.call(clock.SLEEP, clock.Sleep(seconds=seconds))

    async def now(self) -> Time:
        """The kernel's time."""
        time: Time = await self._door.call(clock.NOW, clock.Now())
        return time

    async def alarm(self, seconds: float | None = None, *, unix_s: float | None = None) -> int:
        """The signal ALRM, in so many seconds or at a date; the alarm's number, for `cancel_alarm`."""
        alarm: clock.AlarmSet = await self._door.call(clock.ALARM, clock.Alarm(seconds=seconds, unix_s=unix_s))
        return alarm.alarm

    async def cancel_alarm(self, alarm: int) -> None:
        """Raises NotFound (ENOENT) for one that rang."""
        await self._door.call(clock.CANCEL, clock.CancelAlarm(alarm=alarm))

    def timer(
        self, *, every_s: float | None = None, calendar: str | None = None, zone: str = "UTC", count: int | None = None
    ) -> Ticks:
        """Ticks every so many seconds, or by `calendar` (`"30 9 * * 1-5"`) in the time of `zone`: see Ticks."""
        return Ticks(
            self._door.stream(clock.TIMER, clock.Timer(every_s=every_s, calendar=calendar, zone=zone, count=count))
        )
