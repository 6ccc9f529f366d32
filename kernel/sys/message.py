"""The message family: bounded mailboxes."""

import trio

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.process import Process
from kernel.trap import Trap
from kernel.wait import first_of, seconds
from syscalls.calls import message as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid, NoSuchProcess, TimedOut


async def send(machine: Machine, trap: Trap, args: abi.Send) -> Nothing:
    target = machine.processes.get(args.pid)
    bounds = machine.config.bounds
    size = len(bytes(args.body)) + len(args.topic)
    if size > bounds.mailbox_bytes_max:
        raise Invalid(f"a message of {size} bytes: a mailbox holds {bounds.mailbox_bytes_max}; send a part at a time")
    with trio.move_on_after(seconds(args.timeout_s)):
        while target.exit is None:
            if (
                len(target.mailbox) < bounds.mailbox_messages_max
                and target.mailbox_bytes + size <= bounds.mailbox_bytes_max
            ):
                target.mailbox.append(abi.Message(sender=trap.process.pid, body=args.body, topic=args.topic))
                target.mailbox_bytes += size
                _changed(target)
                return Nothing()
            await first_of(target.mailbox_changed, target.ended)
        raise NoSuchProcess(f"process {args.pid} ended before it took the message")
    raise TimedOut(
        f"the mailbox of process {args.pid} stayed full ({len(target.mailbox)} messages) for {args.timeout_s:g} s"
    )


async def receive(machine: Machine, trap: Trap, args: abi.Receive) -> abi.Message:
    process = trap.process
    with trio.move_on_after(seconds(args.timeout_s)):
        while True:
            found = _take(process, args.topic)
            if found is not None:
                _changed(process)
                return found
            await process.mailbox_changed.wait()
    raise TimedOut(f"no message came in {args.timeout_s:g} s")


def _take(process: Process, topic: str | None) -> abi.Message | None:
    for at, message in enumerate(process.mailbox):
        if topic is None or message.topic == topic:
            del process.mailbox[at]
            process.mailbox_bytes -= len(bytes(message.body)) + len(message.topic)
            return message
    return None


def _changed(process: Process) -> None:
    changed, process.mailbox_changed = process.mailbox_changed, trio.Event()
    changed.set()


HANDLERS: dict[int, Handler] = {abi.SEND.number: send, abi.RECEIVE.number: receive}
