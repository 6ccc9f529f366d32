"""The kernel's side of a supervisor: says what its worker's process may do, hears what was done, answers."""

import socket
from collections.abc import Callable
from typing import Protocol, final

import msgspec
import trio
from msgspec.structs import replace

from kernel.panic import contain
from kernel.process import Process
from syscalls.mediation import MESSAGE_BYTES_MAX, Answer, Ask, Asking, Deed, Did, FromSupervisor, Grants, Over

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FromSupervisor).decode


class Judge(Protocol):
    """Lets mediated deeds in, and writes them down: the gate's, for deeds that are no calls."""

    async def judge(self, process: Process, deed: Deed) -> Answer: ...
    def note(self, process: Process, deed: Deed) -> None: ...


def grants_of(process: Process) -> Grants:
    """What it may do now. Where each deed is counted, by a limit of calls or of uses, each is asked for."""
    counted = bool(process.account.capped) or any(each.limited for each in process.held)
    ask: Asking = "all" if counted else "missing" if process.asks else "never"
    return Grants(tuple(str(right) for right in process.rights), ask)


@final
class Supervision:
    """Of one worker. `lost`: its supervisor died before it, or would not listen."""

    def __init__(self, process: Process, sock: socket.socket, sent: Grants, judge: Judge) -> None:
        self._process = process
        self._sock = sock
        self._sent = sent
        self._judge = judge
        self._over = False
        self._scope = trio.CancelScope(shield=True)
        self.lost = False
        self._lose: Callable[[], None] = lambda: None

    def refresh(self) -> None:
        """Says what the process may do, if that is not what was said last. It is there, before anything else happens,
        or the worker is at its end."""
        grants = grants_of(self._process)
        if grants != self._sent:
            self._sent = grants
            self._send(grants)

    async def run(self, lose: Callable[[], None]) -> None:
        """Serves until the supervisor hangs up; `lose` ends the worker if it should not have."""
        self._lose = lose
        sock = trio.socket.from_stdlib_socket(self._sock)
        try:
            with self._scope:  # what was done is heard also of a worker that was killed
                self.refresh()
                async with trio.open_nursery() as nursery:
                    await self._hear(sock, nursery)
                    nursery.cancel_scope.cancel()
        finally:
            sock.close()
        if not self._over:
            self._give_up()

    def finish(self, within_s: float) -> None:
        """The worker is gone: what is not heard by then is not waited for."""
        self._scope.deadline = trio.current_time() + within_s

    async def _hear(self, sock: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while not self.lost:
            try:
                data = await sock.recv(MESSAGE_BYTES_MAX)
            except OSError:
                return
            if not data:
                return
            match _decode(data):
                case Did(deeds):
                    for deed in deeds:
                        self._judge.note(self._process, deed)
                    self.refresh()
                case Ask(number, deed):
                    nursery.start_soon(self._answer, number, deed)
                case Over():
                    self._over = True

    async def _answer(self, number: int, deed: Deed) -> None:
        try:
            answer = await self._judge.judge(self._process, deed)
        except Exception as bug:
            contain(bug)
            answer = Answer(0, refused="denied")
        self.refresh()
        self._send(replace(answer, number=number))

    def _send(self, message: Grants | Answer) -> None:
        """Never waits: a supervisor that does not listen would do what it was told that it may no more."""
        try:
            self._sock.send(_encode(message))
        except OSError:
            if not self._over:
                self._give_up()

    def _give_up(self) -> None:
        self.lost = True
        self._lose()
