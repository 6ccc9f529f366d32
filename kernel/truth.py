"""The truth: one SQLite file that everything durable is read back from, written by one thread in groups.

A commit is handed over as a closure on the connection. Whatever has been handed over while the disk was busy goes
into one transaction with one fsync: on ordinary disks that is what makes hundreds of writers as quick as one. A group
that fails is rolled back and its members are tried one by one, so that nobody fails for another's statement; closures
must therefore bear being run twice.

WAL, synchronous FULL: what was acknowledged is on disk. The VFS is a parameter: tests bring a disk that fails.
`Truth.in_memory` applies every commit in the calling task: no threads, for the virtual clock.
"""

import fcntl
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, final

import apsw
import trio

from kernel.panic import KernelPanic
from kernel.schema import SCHEMA, SCHEMA_VERSION
from syscalls.errors import Busy, IOFailed, SyscallError

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]


class Passenger(Protocol):
    """What goes along in somebody's transaction; `missed` when that failed."""

    def write(self, db: apsw.Connection) -> None: ...
    def missed(self) -> None: ...


GROUP_MAX = 1024
FILE = "truth.db"


@final
class _Job:
    """A closure on its way through the writer thread, and where its outcome goes."""

    __slots__ = ("done", "error", "result", "token", "work")

    def __init__(self, work: Work[Any], token: trio.lowlevel.TrioToken) -> None:
        self.work = work
        self.token = token
        self.done = trio.Event()
        self.result: Any = None
        self.error: BaseException | None = None


@final
class Truth:
    """The kernel's one database. Make it with `open` or `in_memory`; `close` waits for what is under way."""

    def __init__(self, writer: apsw.Connection, reader: apsw.Connection, *, path: str, lock: int | None) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._lock = lock
        self._reading = trio.CapacityLimiter(1)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread: threading.Thread | None = None
        self.rider: Callable[[], Passenger | None] | None = None
        self.groups = 0
        self.commits = 0

    @classmethod
    def open(cls, path: Path, *, vfs: str | None = None) -> "Truth":
        """Opens or makes the database at `path` (its folder too).

        Raises Busy (EBUSY) when another kernel has it, IOFailed (EIO) when it is damaged or of a newer kernel.
        """
        lock = _take_lock(path)
        try:
            writer = _connect(path, vfs, readonly=False)
            reader = _connect(path, vfs, readonly=True)
        except BaseException:
            os.close(lock)
            raise
        truth = cls(writer, reader, path=str(path), lock=lock)
        truth._thread = threading.Thread(target=truth._write, name="truth", daemon=True)
        truth._thread.start()
        return truth

    @classmethod
    def in_memory(cls) -> "Truth":
        """A truth without a file and without threads; it forgets everything when it is closed."""
        connection = apsw.Connection(":memory:")
        _prepare(connection, ":memory:")
        return cls(connection, connection, path=":memory:", lock=None)

    async def commit(self, work: Work[T]) -> T:
        """Runs `work` in a transaction; returns its result when it is durable. Not cancelled once it has begun. What
        the `rider` gives goes along: what a call is charged is kept with what it did.

        Raises IOFailed (EIO) when the disk does not take it: nothing of it was kept, the kernel goes on.
        """
        await trio.lowlevel.checkpoint()
        self._live()
        passenger = None if self.rider is None else self.rider()
        if passenger is None:
            return await self._commit(work)
        try:
            return await self._commit(_with(work, passenger))
        except BaseException:
            passenger.missed()
            raise

    async def _commit(self, work: Work[T]) -> T:
        self.commits += 1
        if self._thread is None:
            return self._alone(work)
        job = _Job(work, trio.lowlevel.current_trio_token())
        self._jobs.put(job)
        with trio.CancelScope(shield=True):
            await job.done.wait()
        if job.error is not None:
            raise job.error
        return cast(T, job.result)

    async def read(self, work: Work[T]) -> T:
        """Runs `work` against what has been committed, outside the event loop. Raises IOFailed (EIO)."""
        self._live()
        if self._thread is None:
            await trio.lowlevel.checkpoint()
            return self._guarded(work, self._reader)
        return await trio.to_thread.run_sync(self._guarded, work, self._reader, limiter=self._reading)

    def read_now(self, work: Work[T]) -> T:
        """Runs `work` in the calling task: for boot, before anybody waits."""
        self._live()
        return self._guarded(work, self._reader)

    async def facts(self, family: str) -> list[tuple[str, bytes]]:
        """Every (name, body) that a subsystem keeps in its `family`, by name."""
        query = "SELECT name, body FROM facts WHERE family = ? ORDER BY name"
        return await self.read(lambda db: [(row[0], row[1]) for row in db.execute(query, (family,))])

    async def set_fact(self, family: str, name: str, body: bytes | None) -> None:
        """Keeps `body` under (family, name), durably; None forgets it."""
        if body is None:
            await self.commit(
                lambda db: db.execute("DELETE FROM facts WHERE family = ? AND name = ?", (family, name)).get
            )
        else:
            await self.commit(lambda db: db.execute("REPLACE INTO facts VALUES (?, ?, ?)", (family, name, body)).get)

    def close(self) -> None:
        """Writes what was handed over, then lets the file go. Closing twice is the same as once."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
        self._reader.close()
        self._writer.close()
        if self._lock is not None:
            os.close(self._lock)

    # The writer thread.

    def _write(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            more = True
            while more and len(group) < GROUP_MAX:
                try:
                    later = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if later is None:
                    self._jobs.put(None)
                    more = False
                else:
                    group.append(later)
            self._run(group)
            for each in group:
                _wake(each)

    def _run(self, group: list[_Job]) -> None:
        self.groups += 1
        try:
            self._transaction(group)
        except BaseException as bad:
            if len(group) == 1:
                group[0].error = self._translate(bad)
                return
            for job in group:
                try:
                    job.result = self._alone(job.work)
                except BaseException as worse:
                    job.error = worse

    def _transaction(self, group: list[_Job]) -> None:
        with self._writer:
            for job in group:
                job.result = job.work(self._writer)

    def _alone(self, work: Work[T]) -> T:
        try:
            with self._writer:
                result = work(self._writer)
        except BaseException as bad:
            raise self._translate(bad) from bad
        return result

    def _guarded(self, work: Work[T], connection: apsw.Connection) -> T:
        try:
            return work(connection)
        except apsw.Error as bad:
            raise self._translate(bad) from bad

    def _translate(self, bad: BaseException) -> BaseException:
        return translate(bad, self.path) if isinstance(bad, apsw.Error) else bad

    def _live(self) -> None:
        if self._closed:
            raise IOFailed("the kernel is stopping: its truth is closed")


def _with(work: Work[T], passenger: Passenger) -> Work[T]:
    def both(db: apsw.Connection) -> T:
        result = work(db)
        passenger.write(db)
        return result

    return both


def _wake(job: _Job) -> None:
    try:
        job.token.run_sync_soon(job.done.set)
    except trio.RunFinishedError:
        pass  # the kernel's loop is gone; what was written stays written


_DISK = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, apsw.NoMemError)


def translate(bad: apsw.Error, path: str) -> SyscallError | KernelPanic:
    """What SQLite said, as an error that says what to do; a statement that is wrong is our own contradiction."""
    if isinstance(bad, apsw.FullError):
        return IOFailed(f"the disk that holds {path} is full ({bad}): free some space; nothing was lost")
    if isinstance(bad, apsw.NotADBError | apsw.CorruptError):
        return IOFailed(f"{path} is no kernos database, or it is damaged ({bad}): move it away or restore a copy")
    if isinstance(bad, apsw.BusyError | apsw.LockedError):
        return Busy(f"{path} is locked by another program ({bad}): close it and try again")
    if isinstance(bad, _DISK):
        return IOFailed(f"{path} cannot be read or written ({bad}): check the disk and who may write there")
    return KernelPanic(f"a statement on {path} failed: {type(bad).__name__}: {bad}")


def _take_lock(path: Path) -> int:
    """One kernel a state folder: a POSIX lock, which a fork does not inherit and a death releases."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as bad:
        raise IOFailed(f"{path.parent} cannot be the state folder: {bad.strerror}; give another with --state") from bad
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        who = f" (pid {owner})" if owner else ""
        raise Busy(f"{path.parent} is in use by another kernel{who}: stop it, or give another --state") from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError:
        pass  # a full disk: the lock holds all the same, only its message is poorer
    return lock


def _connect(path: Path, vfs: str | None, *, readonly: bool) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | (0 if readonly else apsw.SQLITE_OPEN_CREATE)
    try:
        connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
        try:
            if readonly:
                connection.execute("PRAGMA query_only = 1")
            else:
                os.chmod(path, 0o600)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                _prepare(connection, str(path))
        except BaseException:
            connection.close()
            raise
    except apsw.Error as bad:
        raise translate(bad, str(path)) from bad
    return connection


def _prepare(connection: apsw.Connection, path: str) -> None:
    """Makes the tables of an empty file. Raises IOFailed for a file of a newer kernel."""
    found = int(connection.pragma("user_version"))
    if found > SCHEMA_VERSION:
        raise IOFailed(f"{path} is of a newer kernos (schema {found}, this one knows {SCHEMA_VERSION}): update")
    with connection:
        for statement in SCHEMA[found:]:
            connection.execute(statement)
        connection.pragma("user_version", SCHEMA_VERSION)
