"""The file family: paths to trees, bytes to the account, pieces to the reader."""

from kernel.gate import Handler
from kernel.hosts.files import Files
from kernel.machine import Machine
from kernel.mount import OpenFile, private_root
from kernel.process import Process
from kernel.sys.growth import charge, growing, shrinking
from kernel.trap import Trap
from syscalls import filing
from syscalls.calls import file as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid, NoSuchProcess, TryAgain
from syscalls.filepath import plain
from syscalls.limits import MIB
from syscalls.mounts import Spot, file_names, spot

READ_AHEAD_BYTES = 1 * MIB
"""What is read at once and waits for the reader to take it."""
ENTRIES_AT_ONCE = 256
OFFSET_MAX = (1 << 63) - 1


async def open_(machine: Machine, trap: Trap, args: abi.OpenFile) -> abi.OpenedFile:
    process, files = trap.process, machine.devices.files
    bound = machine.config.bounds.open_files_max
    if len(process.files) >= bound:
        raise TryAgain(f"process {process.pid} has {bound} files open: close some, or raise bounds.open_files_max")
    write = args.mode == "write"
    if not write and (args.create or args.exclusive or args.truncate):
        raise Invalid("create, exclusive and truncate are for mode 'write'")
    where = _spot(machine, process, args.path, trap.right)
    file, opened = await files.open(
        where, write=write, create=args.create, exclusive=args.exclusive, truncate=args.truncate
    )
    charge(machine, process.account, opened.grown)
    if len(process.files) >= bound or process.exit is not None:  # it has opened others, or died, meanwhile
        files.forget(file)
        raise TryAgain(f"process {process.pid} has {bound} files open: close some, or raise bounds.open_files_max")
    number = process.keep_file(file)
    if number == 1:
        process.at_end.append(lambda: _forget_all(process, files))
    return abi.OpenedFile(file=number, info=_info(args.path, opened.stat))


async def read(machine: Machine, trap: Trap, args: abi.ReadFile) -> abi.FileRead:
    files = machine.devices.files
    if args.offset < 0 or args.offset > OFFSET_MAX or (args.count is not None and args.count < 0):
        raise Invalid(f"offset {args.offset}, count {args.count}: give 0 or more")
    if args.file is not None:
        return await _pour(trap, files, _handle(trap.process, args.file, write=False), args)
    assert args.path is not None, "the right was checked by it"
    file, _ = await files.open(_spot(machine, trap.process, args.path, trap.right))
    try:
        return await _pour(trap, files, file, args)
    finally:
        files.forget(file)


async def _pour(trap: Trap, files: Files, file: OpenFile, args: abi.ReadFile) -> abi.FileRead:
    """Reads on only when the reader has taken what was read."""
    done = 0
    while args.count is None or done < args.count:
        wanted = READ_AHEAD_BYTES if args.count is None else min(READ_AHEAD_BYTES, args.count - done)
        data = await files.read(file, min(args.offset + done, OFFSET_MAX), wanted)
        if not data:
            break
        for at in range(0, len(data), abi.PIECE_BYTES):
            trap.emit(abi.FilePiece(data=data[at : at + abi.PIECE_BYTES]))
        done += len(data)
        await trap.room()
    trap.detail = f"{done} bytes of {file.spot.path}"
    return abi.FileRead(bytes=done)


async def write(machine: Machine, trap: Trap, args: abi.WriteFile) -> abi.Written:
    files, process = machine.devices.files, trap.process
    if not 0 <= args.offset <= OFFSET_MAX - len(args.data) or (args.offset and args.mode != "at"):
        raise Invalid(f"offset {args.offset}: 0 or more, and only with mode 'at'")
    if args.file is not None:
        if args.mode == "replace":
            raise Invalid("an open file is not replaced: write to it with mode 'at' or 'append', or replace its path")
        return await _written(machine, trap, _handle(process, args.file, write=True), args)
    assert args.path is not None, "the right was checked by it"
    where = _spot(machine, process, args.path, trap.right)
    if args.mode == "replace":
        return await _replaced(machine, trap, where, args)
    file, _ = await files.open(where, write=True, create=True)
    try:
        return await _written(machine, trap, file, args)
    finally:
        files.forget(file)


async def _replaced(machine: Machine, trap: Trap, where: Spot, args: abi.WriteFile) -> abi.Written:
    async def work(grow_max: int | None) -> filing.Changed:
        return await machine.devices.files.replace(where, args.data, grow_max=grow_max, sync=args.sync)

    changed = await growing(machine, trap.process.account, where, lambda before: len(args.data), work)
    return abi.Written(size=changed.size)


async def _written(machine: Machine, trap: Trap, file: OpenFile, args: abi.WriteFile) -> abi.Written:
    offset = args.offset if args.mode == "at" else None

    async def work(grow_max: int | None) -> filing.Changed:
        return await machine.devices.files.write(file, args.data, offset=offset, grow_max=grow_max, sync=args.sync)

    def size_after(before: int) -> int:
        return max(before, (before if offset is None else offset) + len(args.data))

    changed = await growing(machine, trap.process.account, file.spot, size_after, work)
    return abi.Written(size=changed.size)


async def list_(machine: Machine, trap: Trap, args: abi.ListFiles) -> abi.Listed:
    files = machine.devices.files
    if args.entries_max < 0:
        raise Invalid(f"entries_max {args.entries_max}: give 0 or more")
    folder = await files.scan(_spot(machine, trap.process, args.path, trap.right))
    told = 0
    try:
        while True:
            entries = await files.next(folder, ENTRIES_AT_ONCE)
            for entry in entries[: args.entries_max - told]:
                trap.emit(
                    abi.FileInfo(
                        name=entry.name, kind=entry.kind, size=entry.size, modified_s=entry.modified_s,
                        foreign=entry.foreign,
                    )
                )  # fmt: skip
            more = told + len(entries) > args.entries_max
            told = min(told + len(entries), args.entries_max)
            if more or not entries:
                return abi.Listed(entries=told, more=more)
            await trap.room()
    finally:
        files.forget(folder)


async def stat(machine: Machine, trap: Trap, args: abi.FilePath) -> abi.FileInfo:
    found = await machine.devices.files.stat(_spot(machine, trap.process, args.path, trap.right))
    return _info(args.path, found)


async def remove(machine: Machine, trap: Trap, args: abi.FilePath) -> Nothing:
    where = _spot(machine, trap.process, args.path, trap.right)
    await shrinking(machine, trap.process.account, where, lambda: machine.devices.files.remove(where))
    return Nothing()


async def make_folder(machine: Machine, trap: Trap, args: abi.MakeFolder) -> Nothing:
    where = _spot(machine, trap.process, args.path, trap.right)
    await machine.devices.files.make_folder(where, parents=args.parents)
    return Nothing()


async def rename(machine: Machine, trap: Trap, args: abi.RenameFile) -> Nothing:
    to_right = trap.require("write", file_names(args.to))
    where = _spot(machine, trap.process, args.path, trap.right)
    to = _spot(machine, trap.process, args.to, to_right)
    if where.tree.private != to.tree.private:
        raise Invalid("a file is not renamed between the private tree and a folder of the host: write it there instead")
    await shrinking(machine, trap.process.account, where, lambda: machine.devices.files.rename(where, to))
    return Nothing()


def close(machine: Machine, trap: Trap, args: abi.CloseFile) -> Nothing:
    file = trap.process.files.pop(args.file, None)
    if file is None:
        raise NoSuchProcess(f"process {trap.process.pid} has no open file {args.file}")
    machine.devices.files.forget(file)
    return Nothing()


def _spot(machine: Machine, process: Process, path: str, right: str) -> Spot:
    return spot(plain(path), right, private_root(machine.config.state_folder, process.principal))


def _handle(process: Process, number: int, *, write: bool) -> OpenFile:
    """The open file of a handle whose right was checked. Raises Invalid for one of the other mode."""
    file = process.files[number]
    if file.write != write:
        raise Invalid(f"handle {number} ({file.spot.path}) was opened for {'writing' if file.write else 'reading'}")
    return file


def _info(path: str, found: filing.Stat) -> abi.FileInfo:
    name = path.rstrip("/").rpartition("/")[2]
    return abi.FileInfo(name=name, kind=found.kind, size=found.size, modified_s=found.modified_s)


def _forget_all(process: Process, files: Files) -> None:
    for file in process.files.values():
        files.forget(file)
    process.files.clear()


HANDLERS: dict[int, Handler] = {
    abi.OPEN.number: open_,
    abi.READ.number: read,
    abi.WRITE.number: write,
    abi.LIST.number: list_,
    abi.STAT.number: stat,
    abi.REMOVE.number: remove,
    abi.CLOSE.number: close,
    abi.MAKE_FOLDER.number: make_folder,
    abi.RENAME.number: rename,
}
