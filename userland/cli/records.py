"""Trace records as lines that read like strace, and the table that `strace -c` ends with."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, final

from syscalls.calls.kernel import TraceRecord
from userland.cli.table import Column, clean, render

Times = Literal["none", "relative", "since boot"]

_EVENTS: dict[str, Callable[[dict[str, str]], str]] = {
    "signal": lambda d: f"--- SIG{d.get('signal', '?')} ---",
    "exit": lambda d: f"+++ {_ended(d)} +++",
}


@final
class Lines:
    """Turns records into lines one by one: a call that was shown as `<unfinished ...>` comes back as `<... resumed>`.
    `times` stand before each: seconds since the line before, or since the kernel booted."""

    def __init__(self, times: Times = "none") -> None:
        self._times = times
        self._last_s: float | None = None
        self._begun: set[int] = set()

    def of(self, record: TraceRecord) -> str:
        """One printable line."""
        resumed = record.kind == "call" and record.call in self._begun
        if record.kind == "begun":
            self._begun.add(record.call)
        self._begun.discard(record.call if resumed else -1)
        return clean(self._time(record.at_s) + line_of(record, resumed=resumed))

    def _time(self, at_s: float) -> str:
        if self._times == "none":
            return ""
        before_s, self._last_s = self._last_s, at_s
        if self._times == "relative":
            return f"{0.0 if before_s is None else max(0.0, at_s - before_s):10.6f} "
        return f"{at_s:12.6f} "


def line_of(record: TraceRecord, *, resumed: bool = False) -> str:
    """`PID name(args) = result <seconds>` for a call, `PID --- event ---` for anything else; one printable line."""
    pid = str(record.pid) if record.pid else "-"
    if record.kind == "begun":
        return clean(f"{pid} {record.name}({record.args} <unfinished ...>")
    return clean(f"{pid} {_call(record, resumed) if record.kind == 'call' else _event(record)}")


def _call(record: TraceRecord, resumed: bool) -> str:
    if record.errno:
        outcome = f"-1 {record.errno}" + (f" ({record.result})" if record.result else "")
    else:
        outcome = record.result or "0"
    head = f"<... {record.name} resumed>)" if resumed else f"{record.name}({record.args})"
    return f"{head} = {outcome} <{record.took_s:.6f}>{_cost(record)}"


def _cost(record: TraceRecord) -> str:
    """What strace has not: the tokens a call cost, and how long it waited for the model and was in its driver."""
    costs = []
    if record.prompt_tokens or record.generated_tokens:
        costs.append(f"{record.prompt_tokens}+{record.generated_tokens} tokens")
    if costs or record.queued_s or record.driver_s:
        costs += [f"queued {record.queued_s:.3f}", f"driver {record.driver_s:.3f}"]
    return f" [{', '.join(costs)}]" if costs else ""


def _event(record: TraceRecord) -> str:
    known = _EVENTS.get(record.kind)
    if known is not None:
        return known(record.detail)
    detail = " ".join(f"{key}={_value(value)}" for key, value in record.detail.items() if value)
    return f"--- {record.kind}{' ' + detail if detail else ''} ---"


def _ended(detail: dict[str, str]) -> str:
    status, code, error = detail.get("status", "?"), detail.get("code", "?"), detail.get("error", "")
    how = f"exited with {code}" if status == "done" else f"{status.replace('_', ' ')}, exit code {code}"
    return f"{how}: {error}" if error and status != "done" else how


def _value(text: str) -> str:
    return repr(text) if " " in text or not text else text


@final
class Wanted:
    """Which records are shown: calls by name (`context.generate`, `generate`, `context`, each with `!` for all but
    those), or calls that ended with one of some errors. With either, events are left out."""

    def __init__(self, names: Iterable[str], errnos: Iterable[str]) -> None:
        given = [name.strip() for name in names if name.strip()]
        self._names = frozenset(name for name in given if not name.startswith("!"))
        self._without = frozenset(name[1:] for name in given if name.startswith("!"))
        self._errnos = frozenset(errnos)

    def __call__(self, record: TraceRecord) -> bool:
        if record.kind not in ("call", "begun"):
            return not (self._names or self._errnos)
        family, _, end = record.name.partition(".")
        called = {record.name, family, end}
        if (self._names and not called & self._names) or called & self._without:
            return False
        return not self._errnos or record.errno in self._errnos


@final
class Tally:
    """One row of the summary: a call's name, how often it was made, how long it took, what it cost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = 0.0
        self.queued_s = 0.0
        self.driver_s = 0.0
        self.calls = 0
        self.errors = 0
        self.tokens = 0
        self.share = 0.0

    def add(self, record: TraceRecord) -> None:
        self.seconds += record.took_s
        self.queued_s += record.queued_s
        self.driver_s += record.driver_s
        self.calls += 1
        self.errors += bool(record.errno)
        self.tokens += record.prompt_tokens + record.generated_tokens


_SUMMARY = (
    Column("% time", lambda t: f"{t.share:.2f}", right=True),
    Column("seconds", lambda t: f"{t.seconds:.6f}", right=True),
    Column("usecs/call", lambda t: f"{t.seconds / max(t.calls, 1) * 1e6:.0f}", right=True),
    Column("calls", lambda t: str(t.calls), right=True),
    Column("errors", lambda t: str(t.errors) if t.errors else "", right=True),
    Column("queued", lambda t: f"{t.queued_s:.3f}" if t.queued_s else "", right=True),
    Column("driver", lambda t: f"{t.driver_s:.3f}" if t.driver_s else "", right=True),
    Column("tokens", lambda t: str(t.tokens) if t.tokens else "", right=True),
    Column("syscall", lambda t: t.name),
)


@final
class Summary:
    """Counts calls by name."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._total = Tally("total")

    def add(self, record: TraceRecord) -> None:
        """Counts one record if it is a call that has ended."""
        if record.kind == "call":
            self._tallies.setdefault(record.name, Tally(record.name)).add(record)
            self._total.add(record)

    def rows(self) -> list[Tally]:
        """A tally for each name, that which took longest first, and the total."""
        rows = sorted(self._tallies.values(), key=lambda tally: (-tally.seconds, tally.name))
        for tally in (*rows, self._total):
            tally.share = 100 * tally.seconds / self._total.seconds if self._total.seconds else 0.0
        return [*rows, self._total]

    def lines(self) -> Iterator[str]:
        """The table, as `strace -c` prints it."""
        head, *body, total = render(_SUMMARY, self.rows())
        rule = "-" * max(map(len, (head, *body, total)))
        yield from (head, rule, *body, rule, total)
