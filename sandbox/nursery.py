"""The zygote: a single-threaded interpreter with its imports done, which forks workers when asked.

It runs no loop but this one, holds no secret, and never sees what a worker is told. It answers what goes
wrong as data; a request that it cannot make sense of ends it, and the host starts another.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from sandbox import guest, jail, libc, preload, rooting
from sandbox.leaves import Leaves
from sandbox.limits import BINDS_MAX, GIVEN_MAX, MESSAGE_BYTES_MAX
from sandbox.messages import Bear, Begin, Born, Deliver, Failed, Hatched, Help, Lost, Ready, Status, ToChild, ToZygote
from sandbox.spec import Bind

_REQUEST_FDS: Final = 3
_FDS_MAX: Final = _REQUEST_FDS + GIVEN_MAX + BINDS_MAX
_DYING_MS_MAX: Final = 100
_KILLED: Final = "the worker was killed before it was one"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ToZygote).decode


def main(control_fd: int) -> None:
    """Serves on the control socket until the host closes it. Called by the bootstrap in `sandbox.zygote`."""
    control = socket.socket(fileno=control_fd)
    libc.close_from(control_fd + 1)
    data, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 1)
    begin = _decode(data)
    if not isinstance(begin, Begin):
        raise TypeError(f"the first message to a zygote is Begin, not {type(begin).__name__}")
    try:
        zygote = _prepare(control, begin, fds)
    except BaseException as error:
        control.send(_encode(Failed("zygote", f"{type(error).__name__}: {error}")))
        raise
    os.dup2(1, 2)  # nobody reads the error pipe from here on
    control.send(_encode(Ready(os.getpid(), zygote.privileged, zygote.ungrouped)))
    zygote.keep_spare()
    while zygote.serve_one():
        pass


def _prepare(control: socket.socket, begin: Begin, fds: list[int]) -> _Zygote:
    _die_with_host(begin.host_pid)
    sys.path[:] = begin.spec.path
    preload.load_libraries()
    for name in begin.spec.preload:
        importlib.import_module(name)
    if begin.spec.rehearsal:
        module, _, function = begin.spec.rehearsal.partition(":")
        getattr(importlib.import_module(module), function)()
    if os.geteuid() == 0:
        os.setgroups([])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    zygote = _Zygote(control, begin)
    if begin.grouped:
        zygote.group_children(fds[0])
    gc.disable()
    gc.collect()
    zygote.ballast = preload.fill_holes()
    gc.freeze()
    return zygote


def _die_with_host(host_pid: int) -> None:
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host_pid:
        raise ConnectionResetError("the kernel died while its zygote started")


class _Child(NamedTuple):
    """A child that waits to be a worker, and what it listens to. It ends when that is closed before."""

    pid: int
    helper: socket.socket
    group: str

    def is_dead(self) -> bool:
        """Whether it has hung up, or does so soon: one that is being killed has lost its memory before its files."""
        poll = select.poll()
        poll.register(self.helper, 0)
        return bool(poll.poll(_DYING_MS_MAX))


class _Unhelped(Exception):
    """A child could not be made or helped: at which layer, and why."""

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(reason)
        self.layer = layer


class _Zygote:
    """The serving loop and what it holds: the control socket, the common binds, the filters, a child in reserve.

    Forking and what all workers have in common are more than half of what a worker takes, so one child is
    always made ahead, when the last one needs nothing any more.
    """

    def __init__(self, control: socket.socket, begin: Begin) -> None:
        self._control = control
        self._spec = begin.spec
        self._filters = begin.filters
        self._binds = tuple(sorted(begin.spec.binds, key=lambda bind: bind.target))
        self._spare: _Child | None = None
        self.ballast: list[bytes] = []
        self._leaves: Leaves | None = None
        self.ungrouped = ""
        self.privileged = os.geteuid() == 0 and _may_take_trees(self._binds)

    def group_children(self, folder: int) -> None:
        """From now on each child gets a control group of its own, if one that is tried can be born into one."""
        leaves = Leaves(folder)
        try:
            leaves.try_one()
        except OSError as error:
            self.ungrouped = str(error)
        else:
            self._leaves = leaves

    def serve_one(self) -> bool:
        """Makes one worker; False when the host has closed the control socket."""
        data, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, _FDS_MAX)
        if not data:
            return False
        delivered: _Child | None = None
        try:
            request = _decode(data)
            if not isinstance(request, Bear):
                raise TypeError(f"a zygote that serves is asked to Bear, not to {type(request).__name__}")
            delivered = self._bear(request, fds)
        finally:
            for fd in fds:
                os.close(fd)
        if delivered is not None:
            self._until_done(delivered)
            delivered.helper.close()
        self.keep_spare()
        return True

    def _bear(self, request: Bear, fds: list[int]) -> _Child | None:
        """The child that has become a worker; None when none could be made, which the host has been told."""
        status, command = fds[0], request.kinds is not None
        try:
            child = self._spare if not request.without and not command else None
            if child is not None:
                self._spare = None
            if child is None or not self._deliver(child, request, fds):
                child = self._hatch(request.without, command=command)
                if not self._deliver(child, request, fds):
                    raise _Unhelped("clone", _KILLED)
        except _Unhelped as unhelped:
            _say(status, Failed(unhelped.layer, str(unhelped)))
            return None
        _say(status, Born(child.pid))
        return child

    def _hatch(self, without: tuple[str, ...], *, command: bool = False) -> _Child:
        """Forks a child and helps it to what all workers have, or all commands."""
        helper, helped = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with helped:
            try:
                pid, group = self._clone(jail.clone_flags(without))
            except OSError as error:
                helper.close()
                raise _Unhelped("clone", str(error)) from error
            if pid == 0:
                guest.live(self._cradle(helped.fileno(), without, command=command))
        child = _Child(pid, helper, group)
        self._control.send(_encode(Hatched(pid, group)))
        layer = "uid"
        try:
            self._map_ids(pid)
            layer = "root"
            common = () if command else [bind.source for bind in self._binds]
            self._help(child, Help(taken=self.privileged), [], common)
        except OSError as error:
            dead = child.is_dead()
            self._lose(child)
            raise _Unhelped("clone" if dead else layer, _KILLED if dead else str(error)) from error
        return child

    def _clone(self, flags: int) -> tuple[int, str]:
        """The pid of a child, and the name of its control group."""
        if self._leaves is None:
            return libc.clone(flags), ""
        name, group = self._leaves.make()
        try:
            return libc.clone(flags, group), name
        except OSError:
            self._leaves.drop(name)
            raise
        finally:
            os.close(group)

    def _deliver(self, child: _Child, request: Bear, fds: list[int]) -> bool:
        """Makes a child a worker; False if it has died while it waited."""
        own = _REQUEST_FDS + request.given
        layer = "limits"
        try:
            if self._leaves is not None:
                self._leaves.bound(child.group, request.bounds)
            layer = "root"
            message = Deliver(taken=self.privileged, given=request.given)
            self._help(child, message, fds[:own], fds[own:], request.kinds)
        except OSError as error:
            dead = child.is_dead()
            self._lose(child)
            if not dead:
                raise _Unhelped(layer, str(error)) from error
            return False
        return True

    def _help(
        self,
        child: _Child,
        message: ToChild,
        fds: list[int],
        sources: Sequence[int | str],
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        """Sends a message with `fds` and, where it takes privilege to take them, the mounts of `sources`: a worker's,
        or a command's, which are of `kinds`."""
        trees: list[int] = []
        try:
            if self.privileged and sources:
                self._take_trees(child.pid, sources, kinds, trees)
            socket.send_fds(child.helper, [_encode(message)], [*fds, *trees])
        finally:
            for tree in trees:
                os.close(tree)

    def _take_trees(
        self, pid: int, sources: Sequence[int | str], kinds: tuple[str, ...] | None, trees: list[int]
    ) -> None:
        user_namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for at, source in enumerate(sources):
                if kinds is None:
                    trees.append(jail.take_tree(source, user_namespace))
                else:
                    trees.append(rooting.take_tree(kinds[at], source, user_namespace))
        finally:
            os.close(user_namespace)

    def _lose(self, child: _Child) -> None:
        """A child that is no worker has nobody else to hear of its end than the host."""
        child.helper.close()
        self._control.send(_encode(Lost(child.pid)))

    def keep_spare(self) -> None:
        """Makes a child ahead, if there is none."""
        if self._spare is None:
            try:
                self._spare = self._hatch(())
            except _Unhelped:  # whoever asks next for a worker is told
                pass

    def _until_done(self, child: _Child) -> None:
        """Until a worker is made, which it shows by closing what it was helped by, or somebody wants another."""
        poll = select.poll()
        poll.register(child.helper, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        poll.poll()

    def _cradle(self, helped: int, without: tuple[str, ...], *, command: bool) -> guest.Cradle:
        return guest.Cradle(
            control=self._control.fileno(),
            helped=helped,
            binds=() if command else self._binds,
            filters=self._filters,
            without=without,
            command=command,
        )

    def _map_ids(self, pid: int) -> None:
        uid, gid = (self._spec.uid_base + pid,) * 2 if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        jail.map_ids(pid, uid=uid, gid=gid)


def _may_take_trees(binds: tuple[Bind, ...]) -> bool:
    try:
        os.close(jail.take_tree(binds[0].source if binds else "/"))
    except PermissionError:
        return False
    return True


def _say(status: int, message: Status) -> None:
    try:
        os.write(status, _encode(message))
    except OSError:  # the host no longer waits for this worker
        pass
