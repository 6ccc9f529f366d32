"""A system call in the trace: made when it begins, finished when it ends, text only when somebody reads it."""

from typing import final

from msgspec import Struct

from kernel.watch.tracetext import args_text, result_text, short
from syscalls.calls.kernel import TraceRecord
from syscalls.row import Row

ENTRY_BYTES = 320
"""What an entry takes besides its texts, about."""


@final
class CallEntry(Struct, gc=False):
    """A system call, made when it begins and finished when it ends. `args` and `result` are msgpack as it crossed the
    wire where that is short, else text; "" where they are not kept."""

    number: int
    row: Row
    pid: int
    principal: str
    account: str
    began_s: float
    at_s: float = 0.0
    args: bytes | str = ""
    result: bytes | str = ""
    errno: str = ""
    right: str = ""
    queued_s: float = 0.0
    driver_s: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    facts: dict[str, str] | None = None

    def bytes_kept(self) -> int:
        return ENTRY_BYTES + len(self.args) + len(self.result) + (ENTRY_BYTES if self.facts else 0)

    def record(self, seq: int, kind: str = "call") -> TraceRecord:
        """The entry for readers; kind `begun` is the same call before its end."""
        return TraceRecord(
            seq=seq,
            at_s=self.at_s if kind == "call" else self.began_s,
            kind=kind,
            pid=self.pid,
            call=self.number,
            name=self.row.name,
            args=args_text(self.row, self.args),
            result=result_text(self.row, self.result),
            errno=self.errno,
            took_s=self.at_s - self.began_s if kind == "call" else 0.0,
            queued_s=self.queued_s,
            driver_s=self.driver_s,
            prompt_tokens=self.prompt_tokens,
            generated_tokens=self.generated_tokens,
            right=short(self.right),
            detail=self.facts or {},
            principal=self.principal,
            account=self.account,
        )
