"""Of the kernel family: front doors say whom they let in, and whom no longer."""

from kernel.admission import Identity
from kernel.gate import Handler
from kernel.machine import Machine
from kernel.trap import Trap
from syscalls.calls import admission as abi


def admit(machine: Machine, trap: Trap, args: abi.Admit) -> abi.Admitted:
    return abi.Admitted(ticket=machine.admissions.admit(Identity.of(args)))


def expel(machine: Machine, trap: Trap, args: abi.Expel) -> abi.Expelled:
    return abi.Expelled(sessions=machine.admissions.expel(frozenset(args.ids), args.reason))


HANDLERS: dict[int, Handler] = {abi.ADMIT.number: admit, abi.EXPEL.number: expel}
