"""The message family: bounded mailboxes."""

from collections import deque

import trio

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.process import Process
from kernel.trap import Trap
from kernel.wait import first_of, seconds
from syscalls.calls import message as abi
from syscalls.calls.process import Nothing
from syscalls.errors import NoSuchProcess, TimedOut


async def send(machine: Machine, trap: Trap, args: abi.Send) -> Nothing:
    target = machine.processes.get(args.pid)
    bound = machine.config.bounds.mailbox_messages_max
    with trio.move_on_after(seconds(args.timeout_s)):
        while target.exit is None:
            if len(target.mailbox) < bound:
                target.mailbox.append(abi.Message(sender=trap.process.pid, body=args.body, topic=args.topic))
                _changed(target)
                return Nothing()
            await first_of(target.mailbox_changed, target.ended)
        raise NoSuchProcess(f"process {args.pid} ended before it took the message")
    raise TimedOut(f"the mailbox of process {args.pid} stayed full ({bound} messages) for {args.timeout_s:g} s")


async def receive(machine: Machine, trap: Trap, args: abi.Receive) -> abi.Message:
    process = trap.process
    with trio.move_on_after(seconds(args.timeout_s)):
        while True:
            found = _take(process.mailbox, args.topic)
            if found is not None:
                _changed(process)
                return found
            await process.mailbox_changed.wait()
    raise TimedOut(f"no message came in {args.timeout_s:g} s")


def _take(mailbox: deque[abi.Message], topic: str | None) -> abi.Message | None:
    for message in mailbox:
        if topic is None or message.topic == topic:
            mailbox.remove(message)
            return message
    return None


def _changed(process: Process) -> None:
    changed, process.mailbox_changed = process.mailbox_changed, trio.Event()
    changed.set()


HANDLERS: dict[int, Handler] = {abi.SEND.number: send, abi.RECEIVE.number: receive}
