"""Trace records as people read them: golden lines."""

import json
from pathlib import Path

import pytest

from syscalls.calls.kernel import TraceRecord
from syscalls.calls.process import Nothing
from tests.scriptedkernel import Streamed, scripted_kernel
from userland.cli.main import execute
from userland.cli.records import Lines, Summary, Wanted, line_of
from userland.cli.session import Session

RECORDS = [
    TraceRecord(seq=1, at_s=0.1, kind="spawn", pid=3, detail={"parent": "2", "name": "ask", "note": ""}),
    TraceRecord(seq=2, at_s=0.2, kind="call", pid=3, name="time.sleep", args="seconds=1.0", took_s=1.0000321),
    TraceRecord(
        seq=3, at_s=0.3, kind="call", pid=3, name="device.call", args="device='x'", errno="EPERM",
        result="process 3 lacks the right 'tool:x.y call'", took_s=0.00004,
    ),
    TraceRecord(
        seq=4, at_s=0.4, kind="call", pid=3, name="context.generate", args="context=1", result="finish='stop'",
        took_s=1.5, queued_s=0.25, driver_s=1.2, prompt_tokens=812, generated_tokens=40,
    ),
    TraceRecord(seq=5, at_s=0.5, kind="signal", pid=3, detail={"signal": "TERM"}),
    TraceRecord(seq=6, at_s=0.6, kind="exit", pid=3, detail={"status": "terminated", "code": "143", "error": "TERM"}),
    TraceRecord(seq=7, at_s=0.7, kind="exit", pid=4, detail={"status": "done", "code": "0", "error": ""}),
    TraceRecord(seq=8, at_s=0.8, kind="host_lost", detail={"device": "tiny@1", "status": "signal 9"}),
]  # fmt: skip
GOLDEN = """\
3 --- spawn parent=2 name=ask ---
3 time.sleep(seconds=1.0) = 0 <1.000032>
3 device.call(device='x') = -1 EPERM (process 3 lacks the right 'tool:x.y call') <0.000040>
3 context.generate(context=1) = finish='stop' <1.500000> [812+40 tokens, queued 0.250, driver 1.200]
3 --- SIGTERM ---
3 +++ terminated, exit code 143: TERM +++
4 +++ exited with 0 +++
- --- host_lost device=tiny@1 status='signal 9' ---
"""
SUMMARY = """\
% time   seconds  usecs/call  calls  errors  queued  driver  tokens  syscall
-------------------------------------------------------------------------------------
 60.00  1.500000     1500000      1           0.250   1.200     852  context.generate
 40.00  1.000032     1000032      1                                  time.sleep
  0.00  0.000040          40      1       1                          device.call
-------------------------------------------------------------------------------------
100.00  2.500072      833357      3       1   0.250   1.200     852  total
"""


def test_records_read_like_strace() -> None:
    assert "".join(line_of(record) + "\n" for record in RECORDS) == GOLDEN


def test_a_hostile_argument_stays_on_its_line() -> None:
    record = TraceRecord(seq=1, at_s=0, kind="call", pid=3, name="x.y", args="a\n\x1b[2J")
    assert line_of(record) == "3 x.y(a??[2J) = 0 <0.000000>"


def test_trace_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KERNOS_SOCKET", str(tmp_path / "k.sock"))
    with scripted_kernel(tmp_path / "k.sock", kernel__trace=lambda args: Streamed(RECORDS, Nothing())) as kernel:
        assert execute(["trace"], Session()) == 0
        assert capsys.readouterr().out == GOLDEN
        assert execute(["trace", "--errno", "ALL"], Session()) == 0
        assert capsys.readouterr().out == GOLDEN.splitlines(keepends=True)[2]
        assert execute(["trace", "--errno", "EBAD"], Session()) == 2
        assert "there is no errno EBAD" in capsys.readouterr().err
        assert execute(["trace", "-c"], Session()) == 0
        assert capsys.readouterr().out == SUMMARY
        assert execute(["trace", "-f", "--since", "5", "3", "-o", "json"], Session()) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert lines[7]["detail"] == {"device": "tiny@1", "status": "signal 9"}
        args = kernel.calls[-1][1]
        assert (args.pid, args.since, args.follow, args.children, args.begun) == (3, 5, True, True, True)


SLEEP = TraceRecord(seq=1, at_s=10.0, kind="begun", pid=3, name="time.sleep", args="seconds=1.0", call=11)
OTHER = TraceRecord(seq=2, at_s=10.25, kind="call", pid=4, name="time.now", took_s=0.00002, call=12)
WOKEN = TraceRecord(seq=3, at_s=11.0, kind="call", pid=3, name="time.sleep", args="seconds=1.0", took_s=1.0, call=11)


def test_a_call_that_waits_is_unfinished_and_resumed() -> None:
    lines = Lines("relative")
    assert [lines.of(record) for record in (SLEEP, OTHER, WOKEN, WOKEN)] == [
        "  0.000000 3 time.sleep(seconds=1.0 <unfinished ...>",
        "  0.250000 4 time.now() = 0 <0.000020>",
        "  0.750000 3 <... time.sleep resumed>) = 0 <1.000000>",
        "  0.000000 3 time.sleep(seconds=1.0) = 0 <1.000000>",
    ]
    assert Lines("since boot").of(OTHER).startswith("   10.250000 4 time.now")


@pytest.mark.parametrize(
    ("names", "errnos", "seqs"),
    [
        ("", "", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("sleep", "", [2]),
        ("device,context.generate", "", [3, 4]),
        ("!sleep", "", [1, 3, 4, 5, 6, 7, 8]),
        ("context,!generate", "", []),
        ("", "EPERM,EIO", [3]),
        ("sleep", "EPERM", []),
    ],
)
def test_filters(names: str, errnos: str, seqs: list[int]) -> None:
    wanted = Wanted(names.split(","), [errno for errno in errnos.split(",") if errno])
    assert [record.seq for record in RECORDS if wanted(record)] == seqs


def test_the_summary_counts_what_failed_too() -> None:
    summary = Summary()
    for record in (*RECORDS, SLEEP, WOKEN):
        summary.add(record)
    slept = next(row for row in summary.rows() if row.name == "time.sleep")
    assert (slept.calls, slept.errors, round(slept.seconds, 3)) == (2, 0, 2.0)
    total = summary.rows()[-1]
    assert (total.calls, total.errors, total.tokens, round(total.share)) == (4, 1, 852, 100)
