"""Trace records as lines that read like strace."""

from collections.abc import Callable

from syscalls.calls.kernel import TraceRecord
from userland.cli.table import clean

_EVENTS: dict[str, Callable[[dict[str, str]], str]] = {
    "signal": lambda d: f"--- SIG{d.get('signal', '?')} ---",
    "exit": lambda d: f"+++ {_ended(d)} +++",
    "denied": lambda d: f"--- denied {d.get('right', '')} ---".replace("  ", " "),
}


def line_of(record: TraceRecord) -> str:
    """`PID name(args) = result <seconds>` for a call, `PID --- event ---` for anything else; one printable line."""
    pid = str(record.pid) if record.pid else "-"
    return clean(f"{pid} {_call(record) if record.kind == 'call' else _event(record)}")


def _call(record: TraceRecord) -> str:
    if record.errno:
        outcome = f"-1 {record.errno}" + (f" ({record.result})" if record.result else "")
    else:
        outcome = record.result or "0"
    return f"{record.name}({record.args}) = {outcome} <{record.took_s:.6f}>{_cost(record)}"


def _cost(record: TraceRecord) -> str:
    """What strace has not: the tokens a call cost, and how long it waited for the model."""
    if not record.prompt_tokens and not record.generated_tokens:
        return ""
    tokens = f"{record.prompt_tokens}+{record.generated_tokens} tokens"
    return f" [{tokens}, queued {record.queued_s:.3f}, driver {record.driver_s:.3f}]"


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
