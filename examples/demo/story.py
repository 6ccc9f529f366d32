"""The story of a run: what the trace says, taken in record by record, for the table, the lines and the summary.

Nothing is known here that a record did not say: names come from spawns, speed from generations, ends from exits.
"""

from itertools import pairwise
from typing import final

from msgspec import Struct

from syscalls.calls.device import DeviceInfo
from syscalls.calls.kernel import TraceRecord
from syscalls.calls.process import ProcessInfo

GENERATIONS = ("context.generate", "model.generate")
_TEXT_CHARS_MAX = 400


@final
class Life(Struct):
    """One process so far. `info` is its last line of ps."""

    pid: int
    name: str
    parent: int
    kind: str
    spawned_s: float
    ended_s: float | None = None
    status: str = ""
    note: str = ""
    done: int = 0
    total: int = 0
    faults: int = 0
    tools: int = 0
    denied: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    state: str = "ready"

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.generated_tokens


@final
class Line(Struct, frozen=True):
    """An event for people: when, of whom (0: the machine), what; `grave` ones are shown in colour."""

    at_s: float
    pid: int
    text: str
    grave: bool = False


@final
class Story:
    """Takes records with `take`, and says of each whether it is worth a line."""

    def __init__(self) -> None:
        self.began_s = 0.0
        self.now_s = 0.0
        self.lives: dict[int, Life] = {}
        self.lines: list[Line] = []
        self.denials: list[TraceRecord] = []
        self.tool_calls: list[TraceRecord] = []
        self.signals: list[TraceRecord] = []
        self.hosts: list[TraceRecord] = []
        self.devices: tuple[DeviceInfo, ...] = ()
        self.generations: list[TraceRecord] = []
        self.reissued = 0

    @property
    def elapsed_s(self) -> float:
        """Since boot, by the kernel's clock."""
        return self.now_s - self.began_s

    @property
    def generating_s(self) -> float:
        """Seconds in which the driver was at one generation or more, without those in which its host was gone."""
        return _covered_s([(each.at_s - each.driver_s, each.at_s) for each in self.generations], self._outages())

    def _outages(self) -> list[tuple[float, float]]:
        """When a model's host was gone: from its loss until the next was ready."""
        gone: dict[str, float] = {}
        found = []
        for record in self.hosts:
            device = record.detail["device"]
            if record.kind == "host_lost":
                gone.setdefault(device, record.at_s)
            elif device in gone:
                found.append((gone.pop(device), record.at_s))
        return found

    @property
    def programs(self) -> list[Life]:
        """The processes that run programs, in the order of their birth."""
        return [life for life in self.lives.values() if life.kind == "program"]

    def look(self, table: tuple[ProcessInfo, ...], devices: tuple[DeviceInfo, ...]) -> None:
        """What ps and the device registry say: the states, which no record tells."""
        self.devices = devices
        for info in table:
            life = self.lives.get(info.pid)
            if life is not None and life.ended_s is None:
                life.state = info.state

    def take(self, record: TraceRecord) -> None:
        """One more record."""
        self.now_s = record.at_s
        self.began_s = self.began_s or record.at_s
        text = self._call(record) if record.kind == "call" else self._event(record)
        if text:
            grave = record.kind in ("host_lost", "signal") or bool(record.errno)
            self.lines.append(Line(record.at_s - self.began_s, record.pid, text[:_TEXT_CHARS_MAX], grave))

    def _call(self, record: TraceRecord) -> str:
        life = self.lives.get(record.pid)
        if life is None:
            return ""
        life.prompt_tokens += record.prompt_tokens
        life.generated_tokens += record.generated_tokens
        if record.errno == "EPERM":
            life.denied += 1
            self.denials.append(record)
            return f"{record.name} DENIED: {record.result.partition(': ')[0]}"
        if record.name in GENERATIONS and record.generated_tokens > 0:
            self.generations.append(record)
        if record.name == "device.call" and not record.errno:
            life.tools += 1
            self.tool_calls.append(record)
            return f"tool call {_tool(record.args)} in its sandbox: {record.result}"
        return ""

    def _event(self, record: TraceRecord) -> str:
        detail = record.detail
        life = self.lives.get(record.pid)
        match record.kind:
            case "boot":
                return f"kernos {detail.get('version', '')} has booted"
            case "spawn":
                return self._spawned(record)
            case "exit" if life is not None:
                life.ended_s, life.status = record.at_s, detail["status"]
                if life.kind != "program":
                    return ""
                return detail["status"] + (f": {detail['error']}" if detail.get("error") else "")
            case "note" if life is not None:
                life.note, life.done, life.total = detail["note"], int(detail["done"]), int(detail["total"])
                return f"says: {life.note}" if "refused" in life.note else ""
            case "fault" if life is not None:
                life.faults += 1
                return f"page fault: {detail['source']} (page {detail['page'][:12]}) is brought in"
            case "signal":
                self.signals.append(record)
                return f"signal {detail['signal']}"
            case "host_ready" | "host_lost":
                return self._host(record)
            case "reissue":
                self.reissued += 1
                return f"a generation that lost its host after {detail['generated']} tokens is issued again"
        return ""

    def _spawned(self, record: TraceRecord) -> str:
        detail = record.detail
        self.lives[record.pid] = Life(
            pid=record.pid,
            name=detail["name"],
            parent=int(detail["parent"]),
            kind=detail["type"],
            spawned_s=record.at_s,
        )
        return "spawned" if detail["type"] == "program" else ""

    def _host(self, record: TraceRecord) -> str:
        detail = record.detail
        self.hosts.append(record)
        where = f"driver host of {detail['device']} (OS process {detail['host']})"
        if record.kind == "host_lost":
            return f"{where} died ({how(detail['status'])})"
        return f"{where} is ready" + (", in place of the dead one" if detail["restarts"] != "0" else "")


def how(status: str) -> str:
    """How an OS process ended, from its exit status."""
    return f"signal {status[1:]}" if status.startswith("-") else f"exit status {status}"


def _tool(args: str) -> str:
    """`device.method` of a call's traced arguments."""
    fields = dict(part.split("=", 1) for part in args.split(", ") if "=" in part)
    return f"{fields.get('device', '?')}.{fields.get('method', '?')}".replace("'", "")


def _covered_s(spans: list[tuple[float, float]], without: list[tuple[float, float]]) -> float:
    """The length of the union of `spans`, less that of the parts of it in `without`."""
    edges = sorted({edge for span in (*spans, *without) for edge in span})
    return sum(b - a for a, b in pairwise(edges) if _inside(a, b, spans) and not _inside(a, b, without))


def _inside(a: float, b: float, spans: list[tuple[float, float]]) -> bool:
    return any(begin <= a and b <= end for begin, end in spans)
