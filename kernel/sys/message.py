"""The message family: bounded mailboxes, pipes, and topics."""

import trio

from kernel.config import Bounds
from kernel.gate import Handler
from kernel.machine import Machine
from kernel.messages.pipe import CAPACITY_BYTES_MAX
from kernel.process import Process
from kernel.trap import Trap
from kernel.wait import within
from syscalls.calls import message as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid, NoSuchProcess, TimedOut

BODY_BYTES_MAX = 48 * 1024
TOPIC_CHARS_MAX = 256


async def send(machine: Machine, trap: Trap, args: abi.Send) -> Nothing:
    target = machine.processes.get(args.pid)
    bounds = machine.config.bounds
    size = len(bytes(args.body)) + len(args.topic)
    if size > bounds.mailbox_bytes_max:
        raise Invalid(f"a message of {size} bytes: a mailbox holds {bounds.mailbox_bytes_max}; send a part at a time")
    with within(args.timeout_s):
        while target.exit is None:
            if (
                len(target.mailbox) < bounds.mailbox_messages_max
                and target.mailbox_bytes + size <= bounds.mailbox_bytes_max
            ):
                body = args.body.copy()  # it is a view of all that the call said, which may be a thousand times more
                target.mailbox.append(abi.Message(sender=trap.process.pid, body=body, topic=args.topic))
                target.mailbox_bytes += size
                target.mailbox_changed.ring()
                return Nothing()
            await _in_line(target, size, bounds)
        raise NoSuchProcess(f"process {args.pid} ended before it took the message")
    raise TimedOut(
        f"the mailbox of process {args.pid} stayed full ({len(target.mailbox)} messages) for {args.timeout_s:g} s"
    )


async def receive(machine: Machine, trap: Trap, args: abi.Receive) -> abi.Message:
    process = trap.process
    with within(args.timeout_s):
        while True:
            found = _take(process, args.topic)
            if found is not None:
                _call_in(process, machine.config.bounds)
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


async def _in_line(target: Process, size: int, bounds: Bounds) -> None:
    """Waits until there may be room for `size` bytes, or `target` has ended."""
    room = trio.Event()
    target.senders[room] = size
    taken = False
    try:
        await room.wait()
        taken = True
    finally:
        del target.senders[room]
        if room.is_set() and not taken:  # another may have the room
            _call_in(target, bounds)


def _call_in(target: Process, bounds: Bounds) -> None:
    """Wakes as many of those in line as there is room for: all others would look, and wait again."""
    places = bounds.mailbox_messages_max - len(target.mailbox)
    left = bounds.mailbox_bytes_max - target.mailbox_bytes
    for room, size in target.senders.items():
        if places <= 0:
            return
        if size <= left:
            room.set()
            places -= 1
            left -= size


def pipe(machine: Machine, trap: Trap, args: abi.Pipe) -> abi.Piped:
    if not 1 <= args.capacity_bytes <= CAPACITY_BYTES_MAX:
        raise Invalid(f"a pipe of {args.capacity_bytes} bytes: give 1 to {CAPACITY_BYTES_MAX}")
    return abi.Piped(pipe=machine.pipes.make(trap.process, args.capacity_bytes).id)


async def write(machine: Machine, trap: Trap, args: abi.Write) -> Nothing:
    with within(args.timeout_s):
        await machine.pipes.write(trap.process, args.pipe, args.data)
        return Nothing()
    raise TimedOut(f"pipe {args.pipe} stayed full for {args.timeout_s:g} s; a first part of the data may be in it")


async def read(machine: Machine, trap: Trap, args: abi.Read) -> abi.Data:
    if args.bytes_max < 1:
        raise Invalid(f"a read of {args.bytes_max} bytes: give 1 or more")
    with within(args.timeout_s):
        return abi.Data(data=await machine.pipes.read(trap.process, args.pipe, args.bytes_max))
    raise TimedOut(f"nothing was written to pipe {args.pipe} in {args.timeout_s:g} s")


def give(machine: Machine, trap: Trap, args: abi.Give) -> Nothing:
    target = machine.processes.get(args.pid)
    if target.exit is not None:
        raise NoSuchProcess(f"process {args.pid} has ended: it can be given nothing")
    machine.pipes.give(trap.process, args.pipe, args.end, target, keep=args.keep)
    return Nothing()


def close(machine: Machine, trap: Trap, args: abi.ClosePipe) -> Nothing:
    machine.pipes.close(trap.process, args.pipe, args.end)
    return Nothing()


def publish(machine: Machine, trap: Trap, args: abi.Publish) -> abi.Published:
    size = len(bytes(args.body))
    if size > BODY_BYTES_MAX:
        raise Invalid(f"a publication of {size} bytes: give {BODY_BYTES_MAX} at most, or the path of a file")
    return abi.Published(subscribers=machine.topics.publish(_topic(args.topic), trap.process.pid, args.body.copy()))


async def subscribe(machine: Machine, trap: Trap, args: abi.Subscribe) -> Nothing:
    topic, bound = _topic(args.topic), machine.config.bounds.mailbox_messages_max
    if not 1 <= args.queue_max <= bound:
        raise Invalid(f"a queue of {args.queue_max}: give 1 to {bound} (bounds.mailbox_messages_max)")
    subscription = machine.topics.subscribe(topic, args.queue_max, trap.process.pid)
    try:
        trap.emit(abi.News(sender=0, seq=machine.topics.published))
        while True:
            await trap.room()
            trap.emit(await subscription.next())
    finally:
        machine.topics.leave(topic, subscription, trap.process.pid)


def _topic(name: str) -> str:
    """Raises Invalid (EINVAL) for what could be taken for a pattern: a right to it would cover more than it."""
    if not name or "*" in name or len(name) > TOPIC_CHARS_MAX:
        raise Invalid(f"{name[:80]!r} is no topic: give a name without '*', of {TOPIC_CHARS_MAX} characters at most")
    return name


HANDLERS: dict[int, Handler] = {
    abi.SEND.number: send,
    abi.RECEIVE.number: receive,
    abi.PIPE.number: pipe,
    abi.WRITE.number: write,
    abi.READ.number: read,
    abi.PUBLISH.number: publish,
    abi.SUBSCRIBE.number: subscribe,
    abi.GIVE.number: give,
    abi.CLOSE.number: close,
}
