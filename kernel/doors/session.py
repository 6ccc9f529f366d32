"""Sessions: every connection is a process, which is made, served and freed here, whoever it is of."""

from typing import final

import trio

from kernel.link import Entrance, KernelLink
from kernel.machine import Machine
from kernel.panic import contain
from kernel.process import Process
from kernel.version import VERSION
from syscalls.calls.process import Exit
from syscalls.errors import SyscallError
from syscalls.link.transport import Transport
from syscalls.rights import Right
from syscalls.wire import Hello

_FAREWELL_S = 0.5


@final
class Sole:
    """Channel 0 is the session's process, and there is no other."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def process_on(self, channel: int) -> Process | None:
        return self._process if channel == 0 and self._process.exit is None else None


@final
class Sessions:
    """The sessions of one kernel, local and remote."""

    def __init__(self, machine: Machine, gate: Entrance, init: Process) -> None:
        self._machine = machine
        self._gate = gate
        self._init = init
        self._links: set[KernelLink] = set()

    def open(self, principal: str, rights: tuple[Right, ...], *, name: str = "session") -> Process:
        """A session's process. Raises SyscallError when there is no room for one."""
        machine = self._machine
        above = self._init.account if principal == "kernel" else machine.ledger.account(principal)
        account = machine.accounts.open(above, name=f"{name}:{principal}", principal=principal)
        try:
            return machine.processes.add(
                parent=self._init, principal=principal, kind="session", name=name, account=account, rights=rights
            )
        except SyscallError:
            machine.accounts.close(account)
            raise

    def link(self, process: Process, transport: Transport, hello: Hello | None = None) -> KernelLink:
        """The kernel's end of the session's link."""
        info = {"kernos": VERSION, "pid": str(process.pid)}
        return KernelLink(transport, self._gate, Sole(process), hello=hello or Hello(info=info))

    async def serve(self, process: Process, link: KernelLink, *, handshake_s: float | None = None) -> None:
        """Serves the session until its link ends or it is killed, then frees all that it held. The other end says HELLO
        within `handshake_s` (None: as bounds say)."""
        machine = self._machine
        within_s = machine.config.bounds.handshake_s if handshake_s is None else handshake_s
        reason = ""
        self._links.add(link)
        try:
            with trio.CancelScope() as scope:
                process.stop_scope = scope
                reason = await link.run(handshake_s=within_s)
        except Exception as bug:
            reason = contain(bug)
            machine.trace.event("bug", pid=process.pid, error=repr(bug))
        finally:
            self._links.discard(link)
            self._leave(process, reason)

    async def farewell(self) -> None:
        """Tells every client that the machine stops, behind what it is still owed; waits a moment for them."""
        for link in self._links:
            link.wire.bye("the kernel stops")
        with trio.move_on_after(_FAREWELL_S):
            while any(link.wire.peer.outbox for link in self._links):  # noqa: ASYNC110 (the outbox is plain bytes)
                await trio.sleep(0.001)

    def _leave(self, process: Process, reason: str) -> None:
        machine = self._machine
        machine.contexts.release(process)
        machine.executor.orphan(process)
        machine.accounts.close(process.account)
        machine.processes.ended(process, Exit(pid=process.pid, status="done", error=reason))
