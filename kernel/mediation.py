"""Plain files and sockets of programs, as the gate has them: the same rights, the same count, the same trace.

A supervisor decides by a copy of what this kernel's gate would say, and says so later (`note`); or it asks first
(`judge`). Either way a deed stands in the trace as a call does, under the rows of `syscalls.mediation`, with the right
that let it in or the sentence that says how to grant it.
"""

import errno
from typing import Any, Final, final

import trio

from kernel.capability import Capability
from kernel.machine import Machine
from kernel.permission import Lacking, Permission
from kernel.process import Process
from kernel.recorder import Recorder
from kernel.trap import Trap
from syscalls.codec import parse_args
from syscalls.errors import Errno, OverQuota, SyscallError, TryAgain
from syscalls.mediation import ROWS, Answer, Connect, Deed, Resolve, may_resolve, needed, to_resolve
from syscalls.rights import Right

_TOLD: Final = {
    errno.ENOENT: Errno.ENOENT, errno.EACCES: Errno.EPERM, errno.EPERM: Errno.EPERM, errno.EROFS: Errno.EPERM,
    errno.EEXIST: Errno.EBUSY, errno.EBUSY: Errno.EBUSY, errno.ENOTEMPTY: Errno.EBUSY, errno.EINVAL: Errno.EINVAL,
    errno.ENOTDIR: Errno.EINVAL, errno.EISDIR: Errno.EINVAL, errno.EAGAIN: Errno.EAGAIN,
    errno.ECONNREFUSED: Errno.EAGAIN, errno.EINPROGRESS: Errno.EAGAIN,
}  # fmt: skip
"""What the machine says, as the ABI has it; all else is EIO."""


@final
class Mediation:
    """Judges and writes down what supervisors do for workers."""

    def __init__(self, machine: Machine, permission: Permission, recorder: Recorder) -> None:
        self._machine = machine
        self._permission = permission
        self._recorder = recorder

    def note(self, process: Process, deed: Deed) -> None:
        """Writes down what was done, or refused for want of a right."""
        trap, args = self._trap(process, deed)
        if not deed.right:
            self._recorder.refused(trap, deed.args, args, self._missing(trap, args))
            return
        trap.admitted = self._by(process, args)
        self._count(process)
        if deed.error:
            why = f"the machine said: {_words(deed.error)}"
            self._recorder.failed(trap, deed.args, args, _TOLD.get(deed.error, Errno.EIO), why)
        else:
            self._recorder.done(trap, deed.args, args, b"", None)

    async def judge(self, process: Process, deed: Deed) -> Answer:
        """Lets it in by the process's rights, asking for one that is missing where the process does; counts it."""
        trap, args = self._trap(process, deed)
        self._recorder.begin(trap, deed.args)
        try:
            if isinstance(args, Resolve):
                answer = await self._resolve(trap, args)
            else:
                trap.admitted = await self._admitted(trap, args)
                answer = Answer(0, rights=tuple(each.text for each in trap.admitted))
            self._machine.accounts.count_call(process.account)
        except SyscallError as refused:
            self._recorder.refused(trap, deed.args, args, refused)
            return Answer(0, refused=_how(refused))
        except trio.Cancelled:
            self._recorder.failed(trap, deed.args, args, Errno.EPIPE, "its caller has gone while it was under way")
            raise
        self._recorder.done(trap, deed.args, args, b"", None)
        return answer

    async def _admitted(self, trap: Trap, args: Any) -> tuple[Capability, ...]:
        try:
            return self._require(trap, args)
        except Lacking as lacking:
            if not trap.process.asks:
                raise
            await self._machine.requests.ask(trap.process, lacking.right, reason=f"for {trap.row.name}")
            return self._require(trap, args)

    def _require(self, trap: Trap, args: Any) -> tuple[Capability, ...]:
        found: tuple[Capability, ...] = ()
        for action, names in needed(args):
            try:
                found += self._permission.require(trap.process, trap.row, action, names)
            except Lacking as lacking:
                if not (isinstance(args, Connect) and args.private):
                    raise
                raise self._permission.lacking(
                    trap.process, trap.row, Right(lacking.right.resource, ("connect", "private"))
                ) from None
        return found

    async def _resolve(self, trap: Trap, args: Resolve) -> Answer:
        """A name is looked up for who may connect there: to ask DNS is to say something, to whoever serves the name."""
        wanted = to_resolve(args.host)
        if not may_resolve(trap.process.rights, args.host):
            lacking = self._permission.lacking(trap.process, trap.row, wanted)
            if not trap.process.asks:
                raise lacking
            await self._machine.requests.ask(trap.process, wanted, reason=f"for {trap.row.name}")
        return Answer(0, addresses=await self._machine.devices.web.resolve(args.host))

    def _trap(self, process: Process, deed: Deed) -> tuple[Trap, Any]:
        row = ROWS[deed.row]
        trap = Trap(process=process, row=row, emit=_nothing, room=trio.lowlevel.checkpoint)
        trap.began_s = self._machine.clock.now()
        return trap, parse_args(row, deed.args)

    def _missing(self, trap: Trap, args: Any) -> SyscallError:
        """Why it was refused. If it would be let in by now, it was asked for before that."""
        try:
            self._require(trap, args)
        except SyscallError as refused:
            return refused
        return self._permission.lacking(trap.process, trap.row, Right(needed(args)[0][1][0], ("then",)))

    def _by(self, process: Process, args: Any) -> tuple[Capability, ...]:
        found = (process.held.find(action, names) for action, names in needed(args))
        return tuple(each for each in found if each is not None)

    def _count(self, process: Process) -> None:
        try:
            self._machine.accounts.count_call(process.account)
        except OverQuota:  # the limit is newer than the deed; from now on each is asked for
            pass


def _how(refused: SyscallError) -> Any:
    if isinstance(refused, OverQuota):
        return "quota"
    return "again" if isinstance(refused, TryAgain) else "denied"


def _words(code: int) -> str:
    return f"{errno.errorcode.get(code, str(code))}"


def _nothing(item: Any) -> None:
    raise AssertionError(f"a deed streams nothing, yet it emitted {item!r}")
