"""The kernel family, continued: log, events, metrics."""

from collections import Counter
from typing import Any

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.sys.account import models_told
from kernel.trap import Trap
from kernel.watch.metrics import memory_bytes
from kernel.watch.ring import Ring
from syscalls.calls import watch as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid

_BATCH = 256


async def log(machine: Machine, trap: Trap, args: abi.Log) -> Nothing:
    if args.tail < 0:
        raise Invalid("tail counts lines from the end: 0 or more")
    grave = frozenset(abi.LEVELS[abi.LEVELS.index(args.level) :])
    ring = machine.klog.lines
    fresh = [(seq, line) for seq, line in ring.since(args.since) if line.level in grave]
    since = ring.newest
    fresh = fresh[len(fresh) - min(args.tail, len(fresh)) :]
    while True:
        for sent, (seq, line) in enumerate(fresh, 1):
            event = line.event
            trap.emit(
                abi.LogRecord(
                    seq=seq,
                    at_s=event.at_s,
                    level=line.level,
                    kind=event.kind,
                    text=line.text,
                    pid=event.pid,
                    detail=event.detail,
                )
            )
            if sent % _BATCH == 0:
                await trap.room()
        if not args.follow:
            return Nothing()
        await _news(ring, since)
        fresh = [(seq, line) for seq, line in ring.since(since) if line.level in grave]
        since = ring.newest


async def events(machine: Machine, trap: Trap, args: abi.Events) -> Nothing:
    if len(args.kinds) > abi.KINDS_MAX:
        raise Invalid(f"{len(args.kinds)} kinds: at most {abi.KINDS_MAX}, or none for all")
    kinds, ring, since = frozenset(args.kinds), machine.klog.events, args.since
    lost = max(0, ring.oldest - since - 1)
    sent = 0
    while True:
        fresh = list(ring.since(since))
        since = max(since, ring.newest)
        for seq, event in fresh:
            if (kinds and event.kind not in kinds) or args.pid not in (None, event.pid):
                continue
            trap.emit(
                abi.EventRecord(
                    seq=seq, at_s=event.at_s, kind=event.kind, pid=event.pid, detail=event.detail, lost=lost
                )
            )
            lost = 0
            sent += 1
            if sent % _BATCH == 0:
                await trap.room()
        if not args.follow:
            return Nothing()
        await _news(ring, since)


async def _news(ring: Ring[Any], since: int) -> None:
    """Waits until there is something after `since`."""
    while ring.newest <= since:
        await ring.changed()


def metrics(machine: Machine, trap: Trap, args: abi.Measure) -> abi.Metrics:
    kept, now = machine.metrics, machine.clock.now()
    machine.trace.settle()
    return abi.Metrics(
        at_s=machine.clock.unix(),
        uptime_s=now,
        calls=kept.calls(),
        models=models_told(machine.accounts.did),
        histograms={
            "queue": kept.queue.told(),
            "ttft": kept.ttft.told(),
            "token": kept.token.told(),
            "generation": kept.generation.told(),
        },
        devices=tuple(
            abi.DeviceGauge(
                name=device.name,
                kind=device.kind,
                state=device.state,
                busy=device.busy,
                slots=device.slots,
                waiting=machine.scheduler.waiting(device.name),
                restarts=device.restarts,
            )
            for device in machine.devices.devices()
        ),
        processes=dict(Counter(process.state for process in machine.processes)),
        contexts=len(machine.contexts),
        faults=machine.trace.faults,
        events=machine.klog.events.newest,
        memory_bytes=memory_bytes(),
        trace_bytes=machine.trace.bytes_kept,
        commits=machine.truth.commits,
        groups=machine.truth.groups,
    )


def report(machine: Machine, trap: Trap, args: abi.Report) -> Nothing:
    text = args.text.strip()
    if not 1 <= len(text) <= abi.TEXT_CHARS_MAX:
        raise Invalid(f"a text of {len(text)} characters: 1 to {abi.TEXT_CHARS_MAX}")
    machine.klog.report(trap.process.pid, args.level, text)
    return Nothing()


HANDLERS: dict[int, Handler] = {
    abi.LOG.number: log,
    abi.EVENTS.number: events,
    abi.METRICS.number: metrics,
    abi.REPORT.number: report,
}
