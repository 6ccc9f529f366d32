"""What must be true of a machine at any rest: every kernel fixture of the tests ends with `check`."""

from kernel.machine import Machine
from kernel.panic import KernelPanic
from kernel.process_table import INIT_PID
from syscalls.resources import Resource
from syscalls.rights import uncovered


def check(machine: Machine) -> None:
    """Raises KernelPanic with what is wrong: rights of children, books, seats, handles, the tree of processes."""
    machine.accounts.check()
    machine.scheduler.check()
    gone = machine.handles.holders().difference(process.pid for process in machine.processes if process.exit is None)
    if gone:
        raise KernelPanic(f"processes {sorted(gone)} have ended and hold devices")
    for process in machine.processes:
        where = f"process {process.pid} ({process.name})"
        if process.pid == INIT_PID:
            continue
        parent = process.parent
        if parent is None or parent.children.get(process.pid) is not process:
            raise KernelPanic(f"{where} is not a child of its parent")
        machine.processes.capabilities.check(process)
        if uncovered(process.rights, parent.rights):
            raise KernelPanic(f"{where} holds what its parent lacks: {uncovered(process.rights, parent.rights)}")
        if (process.exit is not None) != (process.state == "zombie"):
            raise KernelPanic(f"{where} is {process.state} with exit {process.exit}")
        if len(process.mailbox) > machine.config.bounds.mailbox_messages_max:
            raise KernelPanic(f"{where} has {len(process.mailbox)} messages in its mailbox")
        if process.generating > process.calling:
            raise KernelPanic(f"{where} generates in {process.generating} of {process.calling} calls")


def at_rest(machine: Machine) -> None:
    """As `check`, once every program has ended: nothing is held, nobody waits."""
    check(machine)
    for account in machine.accounts.all():
        if any(account.held):
            raise KernelPanic(f"account {account.name} holds {account.held} and nobody works")
        if account.pid and (account.own[Resource.PROCESSES] or account.own[Resource.CONTEXTS]):
            raise KernelPanic(f"account {account.shown} still occupies {account.own} and its process has ended")
