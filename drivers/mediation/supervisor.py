"""The supervisor of one worker: answers the calls that it may not make itself, one after another.

It is an OS process of its own, without a loop: what blocks here (a mount whose server is gone) blocks the worker that
asked and nobody else. What waits for the network or for the kernel's word is put aside, and other threads of the worker
are answered meanwhile. When it dies, calls that wait get ENOSYS from the machine, and the kernel ends the worker.
"""

import errno
import os
import platform
import select
import socket
import stat
import time
from collections.abc import Callable
from typing import Final, final

import msgspec
from msgspec import Raw, Struct

from drivers.mediation import calls, stats
from drivers.mediation.control import Control, Hangup
from drivers.mediation.decision import Allowed, Decisions, spot_of
from drivers.mediation.descriptors import taken
from drivers.mediation.files import HostFiles, code_of, wanted
from drivers.mediation.memory import Memory
from drivers.mediation.names import Asker, is_names_socket
from drivers.mediation.notices import Notice, Notices
from drivers.mediation.places import absolute, must_be_folder, speakable
from drivers.mediation.sockets import Known, Own, Peer, begin, look_at, read_address
from drivers.mediation.view import Folders, View
from syscalls import mediation as abi
from syscalls.row import Args, Row

CALLS_PER_S_MAX: Final = 20_000
"""Of one worker; whoever asks for more is answered later."""
COUNTED: Final = 256
"""Calls between two looks at the clock."""
LOOKUPS_MAX: Final = 64
"""Names looked up at once."""
_encode: Final = msgspec.msgpack.Encoder().encode


class Later(Exception):
    """The call is answered when something else has come."""


@final
class _Waiting(Struct, frozen=True):
    """A connection under way: the call that waits for it, the worker's socket that it is for."""

    notice: Notice
    sock: socket.socket
    fd: int
    own: Own


@final
class Supervisor:
    """Serves until the worker has gone (`run` returns), or the kernel (Hangup)."""

    def __init__(self, told: abi.Serve, *, control: socket.socket, notify: int, root: int, pidfd: int) -> None:
        machine = platform.machine()
        self._names = calls.NAMES[machine]
        self._stat = stats.layout(machine)
        worker = os.stat(f"/proc/{told.pid}")
        self._own = frozenset((os.geteuid(), os.getegid(), worker.st_uid, worker.st_gid))
        self._notices = Notices(notify)
        self._memory = Memory(told.pid)
        self._pidfd = pidfd
        self._control = Control(control)
        self._view = View(root)
        self._files = HostFiles(told.never)
        self._decisions = Decisions(told.binds)
        self._folders = Folders()
        self._known = Known()
        self._here = "/"
        self._ask: abi.Asking = "never"
        self._asked: dict[int, Callable[[abi.Answer], None]] = {}
        self._connecting: dict[int, _Waiting] = {}
        self._looking_up: dict[int, Asker] = {}
        self._poll = select.poll()
        self._calls = 0
        self._counted_s = time.monotonic()
        self._grant(told.grants)

    def run(self) -> None:
        """Answers until nobody is left to answer."""
        notify = self._notices.fd
        self._poll.register(notify, select.POLLIN)
        self._poll.register(self._control.fileno(), select.POLLIN)
        while True:
            ready = self._poll.poll(self._control.wait_ms)
            if not ready:
                self._control.tell()
            for fd, event in ready:
                if fd == notify:
                    if not event & select.POLLIN:
                        self._control.over()
                        return
                    self._serve()
                elif fd in self._connecting:
                    self._connected(self._connecting.pop(fd))
                elif fd in self._looking_up:
                    self._look_up(self._looking_up[fd])
                else:
                    self._hear()

    # The kernel's word.

    def _hear(self, *, eager: bool = False) -> None:
        while (message := self._control.hear(eager=eager)) is not None:
            if isinstance(message, abi.Grants):
                self._grant(message)
            elif (then := self._asked.pop(message.number, None)) is not None:
                then(message)

    def _grant(self, grants: abi.Grants) -> None:
        self._decisions.grant(grants.rights)
        self._ask = grants.ask

    # One call.

    def _serve(self) -> None:
        self._throttle()
        notice = self._notices.receive()
        if notice is None:
            return
        try:
            request = calls.read_call(notice, self._memory, self._names)
        except OSError as failed:
            self._notices.fail(notice, failed.errno or errno.EFAULT)
            return
        if not self._notices.valid(notice):  # what was read was another's
            return
        self._hear(eager=True)
        self._attempt(notice, lambda: self._answer(notice, request))

    def _attempt(self, notice: Notice, work: Callable[[], None]) -> None:
        try:
            work()
        except Later:
            pass
        except Exception as failed:
            if isinstance(failed, Hangup):
                raise
            self._notices.fail(notice, code_of(failed))

    def _answer(self, notice: Notice, request: calls.Request) -> None:
        match request:
            case calls.Open():
                self._open(notice, request)
            case calls.Stat():
                self._look(notice, request)
            case calls.Access():
                self._access(notice, request)
            case calls.ReadLink():
                self._read_link(notice, request)
            case calls.WhereAmI(at=at, size=size):
                told = os.fsencode(self._here) + b"\0"
                if size < len(told):
                    raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
                self._memory.write(at, told)
                self._notices.succeed(notice, len(told))
            case calls.GoTo():
                self._go(notice, request)
            case calls.Connect():
                self._connect(notice, request)
            case _:
                self._change(notice, request)

    def _open(self, notice: Notice, request: calls.Open) -> None:
        path = self._place(request.folder, request.path)
        read, write = wanted(request.flags)
        folder = must_be_folder(request.path)
        inherited = not request.flags & os.O_CLOEXEC

        def give(fd: int, of_folder: os.stat_result | None) -> None:
            try:
                if of_folder is not None:
                    self._folders.opened(of_folder, path)
                self._notices.give(notice, fd, inherited=inherited)
            finally:
                os.close(fd)

        def on_host(by: Allowed) -> None:
            assert by.spot is not None
            give(*self._files.open(by.spot, request.flags, request.mode, folder=folder))

        if path == "/dev/null":
            give(os.open(path, request.flags & os.O_ACCMODE | os.O_CLOEXEC), None)
            return
        flags = request.flags | (os.O_DIRECTORY if folder else 0)
        self._file(notice, abi.OPEN, path, on_host, lambda: give(*self._view.open(path, flags)), read=read, write=write)

    def _look(self, notice: Notice, request: calls.Stat) -> None:
        if request.path is None and request.folder != calls.HERE:
            with taken(self._pidfd, request.folder) as fd:
                self._told(notice, request, os.fstat(fd))
            return
        path = self._place(request.folder, request.path or ".")
        folder = must_be_folder(request.path or ".")
        follow = request.follow or folder

        def say(found: os.stat_result) -> None:
            if folder:
                self._folders_only(found)
            self._told(notice, request, found)

        def on_host(by: Allowed) -> None:
            assert by.spot is not None
            say(self._files.stat(by.spot, follow=follow))

        self._file(notice, abi.LOOK, path, on_host, lambda: say(self._view.stat(path, follow=follow)))

    def _told(self, notice: Notice, request: calls.Stat, found: os.stat_result) -> None:
        self._memory.write(request.at, (stats.statx if request.extended else self._stat)(found, self._own))
        self._notices.succeed(notice)

    def _access(self, notice: Notice, request: calls.Access) -> None:
        path = self._place(request.folder, request.path)

        def on_host(by: Allowed) -> None:
            assert by.spot is not None
            self._files.access(by.spot, request.mode)
            self._notices.succeed(notice)

        def in_view() -> None:
            self._view.access(path, request.mode)
            self._notices.succeed(notice)

        write = bool(request.mode & os.W_OK)
        read = not write or bool(request.mode & ~os.W_OK)
        self._file(notice, abi.LOOK, path, on_host, in_view, read=read, write=write)

    def _read_link(self, notice: Notice, request: calls.ReadLink) -> None:
        path = self._place(request.folder, request.path)
        if request.size <= 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        def say(leads: bytes) -> None:
            cut = leads[: request.size]
            self._memory.write(request.at, cut)
            self._notices.succeed(notice, len(cut))

        def on_host(by: Allowed) -> None:
            assert by.spot is not None
            say(self._files.read_link(by.spot))

        self._file(notice, abi.LOOK, path, on_host, lambda: say(self._view.read_link(path)))

    def _go(self, notice: Notice, request: calls.GoTo) -> None:
        path = self._place(request.folder, request.path if request.path is not None else ".")

        def arrive(found: os.stat_result) -> None:
            self._folders_only(found)
            self._here = path
            self._notices.succeed(notice)

        def on_host(by: Allowed) -> None:
            assert by.spot is not None
            arrive(self._files.stat(by.spot, follow=True))

        self._file(notice, abi.LOOK, path, on_host, lambda: arrive(self._view.stat(path, follow=True)))

    def _change(self, notice: Notice, request: calls.Request) -> None:
        """What changes something by its path and gives nothing back."""
        if isinstance(request, calls.Rename):
            self._rename(notice, request)
            return
        assert not isinstance(request, calls.Open | calls.Stat | calls.Connect | calls.WhereAmI | calls.GoTo)
        folder = getattr(request, "folder", calls.HERE)
        path = self._place(folder, request.path)

        def on_host(by: Allowed) -> None:
            spot = by.spot
            assert spot is not None
            match request:
                case calls.MakeFolder(mode=mode):
                    self._files.make_folder(spot, mode)
                case calls.Remove(directory=directory):
                    self._files.remove(spot, directory=directory)
                case calls.Truncate(size=size):
                    self._files.truncate(spot, size)
                case calls.ChangeMode(mode=mode):
                    self._files.change_mode(spot, mode)
                case calls.ChangeTimes(times=times):
                    self._files.change_times(spot, times)
            self._notices.succeed(notice)

        self._file(notice, _row_of(request), path, on_host, _read_only, read=False, write=True)

    def _rename(self, notice: Notice, request: calls.Rename) -> None:
        path = self._place(request.folder, request.path)
        to = self._place(request.to_folder, request.to)
        args = abi.Rename(path=path, to=to)

        def work(rights: tuple[str, ...]) -> None:
            self._files.rename(spot_of(path, rights[:1]), spot_of(to, rights[1:]))
            self._notices.succeed(notice)

        self._judged(notice, abi.RENAME, args, self._decisions.args(args), work)

    def _place(self, folder: int, path: str) -> str:
        """What a path names, seen from the folder that is open as `folder`."""
        if folder == calls.HERE or path.startswith("/"):
            return absolute(self._here, path)
        with taken(self._pidfd, folder) as fd:
            return absolute(self._folders.path(os.fstat(fd)), path)

    def _folders_only(self, found: os.stat_result) -> None:
        if not stat.S_ISDIR(found.st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    # Whether it may.

    def _file(
        self,
        notice: Notice,
        row: Row,
        path: str,
        on_host: Callable[[Allowed], None],
        in_view: Callable[[], None],
        *,
        read: bool = True,
        write: bool = False,
    ) -> None:
        """Does it in what the worker sees of its own, or by right on the host, or refuses it."""
        decisions = self._decisions
        if decisions.sees(path) and not write:
            in_view()
            return
        if not speakable(path):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        by = decisions.file(path, read=read, write=write)
        if by is None and not write:
            if decisions.leads_there(path):
                in_view()
                return
            if decisions.expected_absent(path):
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

        def work(rights: tuple[str, ...]) -> None:
            on_host(by if by is not None and by.rights == rights else Allowed(rights, spot_of(path, rights)))

        args = abi.File(path=path, read=read, write=write)
        self._judged(notice, row, args, None if by is None else by.rights, work)

    def _judged(
        self,
        notice: Notice,
        row: Row,
        args: Args,
        rights: tuple[str, ...] | None,
        work: Callable[[tuple[str, ...]], None],
    ) -> None:
        """Does `work` if `rights` let it be done, and says so; asks the kernel first where it wants to be asked. Nobody
        is asked for what a program only looks for: it looks in many places."""
        if self._ask == "all" or (self._ask == "missing" and rights is None and row is not abi.LOOK):
            self._asked[self._control.ask(_deed(row, args))] = lambda answer: self._go_on(notice, answer, work)
            raise Later
        if rights is None:
            self._control.did(_deed(row, args))
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        try:
            work(rights)
        except Exception as failed:
            if not isinstance(failed, Later | Hangup):
                self._control.did(_deed(row, args, rights[0], code_of(failed)))
                raise
            if isinstance(failed, Hangup):
                raise
            self._control.did(_deed(row, args, rights[0]))
            raise
        self._control.did(_deed(row, args, rights[0]))

    def _go_on(self, notice: Notice, answer: abi.Answer, work: Callable[[tuple[str, ...]], None]) -> None:
        """The kernel has answered."""
        if answer.refused:
            self._notices.fail(notice, errno.EACCES if answer.refused == "denied" else errno.EDQUOT)
        elif self._notices.valid(notice):
            self._attempt(notice, lambda: work(answer.rights))

    def _throttle(self) -> None:
        self._calls += 1
        if self._calls < COUNTED:
            return
        early_s = self._counted_s + COUNTED / CALLS_PER_S_MAX - time.monotonic()
        if early_s > 0:
            self._control.tell()
            time.sleep(early_s)
        self._calls, self._counted_s = 0, time.monotonic()

    # The network.

    def _connect(self, notice: Notice, request: calls.Connect) -> None:
        own = look_at(self._pidfd, request.fd)
        if own.family == socket.AF_UNIX:
            self._connect_names(notice, request, own)
            return
        peer = read_address(request.address)
        args = abi.Connect(
            address=peer.address, port=peer.port, names=self._known.names(peer.address), private=peer.private
        )

        def work(rights: tuple[str, ...]) -> None:
            self._begin(notice, request.fd, own, peer)

        self._judged(notice, abi.CONNECT, args, self._decisions.args(args), work)

    def _begin(self, notice: Notice, fd: int, own: Own, peer: Peer) -> None:
        sock, code = begin(peer, own)
        waiting = _Waiting(notice, sock, fd, own)
        if code == errno.EINPROGRESS and own.waits:
            self._connecting[sock.fileno()] = waiting
            self._poll.register(sock, select.POLLOUT)
            raise Later
        with sock:
            self._settle(waiting, code)

    def _connected(self, waiting: _Waiting) -> None:
        self._poll.unregister(waiting.sock)
        with waiting.sock as sock:
            self._attempt(
                waiting.notice, lambda: self._settle(waiting, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            )

    def _settle(self, waiting: _Waiting, code: int) -> None:
        """Puts a connection that is made, or on its way, in the place of the worker's socket."""
        if code in (0, errno.EINPROGRESS):
            waiting.sock.setblocking(waiting.own.waits)
            self._notices.put(waiting.notice, waiting.sock.fileno(), waiting.fd)
        if code:
            raise OSError(code, os.strerror(code))
        self._notices.succeed(waiting.notice)

    def _connect_names(self, notice: Notice, request: calls.Connect, own: Own) -> None:
        if not is_names_socket(request.address) or len(self._looking_up) >= LOOKUPS_MAX:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        asker = Asker()
        asker.theirs.setblocking(own.waits)
        self._notices.put(notice, asker.theirs.fileno(), request.fd)
        self._notices.succeed(notice)
        asker.theirs.close()
        self._looking_up[asker.fileno()] = asker
        self._poll.register(asker, select.POLLIN)

    def _look_up(self, asker: Asker) -> None:
        try:
            host = asker.read()
        except BlockingIOError:
            return
        except OSError:
            self._poll.unregister(asker)
            self._looking_up.pop(asker.fileno()).close()
            return
        if host is None:
            return
        self._poll.unregister(asker)
        del self._looking_up[asker.fileno()]
        if not host:
            asker.answer(())
            return

        def found(answer: abi.Answer) -> None:
            self._known.found(host, answer.addresses)
            asker.answer(answer.addresses, again=answer.refused == "again")

        self._asked[self._control.ask(_deed(abi.RESOLVE, abi.Resolve(host=host)))] = found


def _deed(row: Row, args: Args, right: str = "", error: int = 0) -> abi.Deed:
    return abi.Deed(row.number, Raw(_encode(args)), right, error)


def _row_of(request: calls.Request) -> Row:
    match request:
        case calls.MakeFolder():
            return abi.MAKE_FOLDER
        case calls.Remove():
            return abi.REMOVE
        case _:
            return abi.CHANGE


def _read_only() -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
