"""The file family, 0x50: files below the folders that a process's rights name, and its private tree.

A path is `/absolute/of/the/host` or `~/in/the/private/tree` (see `syscalls.filepath`). The right is the mount: with
`file:/srv/docs/** read` everything below /srv/docs can be read and nothing else; links below it are followed as long as
they stay below it. A right whose pattern is not a whole folder (`file:/srv/*.txt read`) follows no links at all.
"""

from typing import Literal, final

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.filing import EntryKind
from syscalls.row import Args, Flag, Needs, Result, Row, Says

PIECE_BYTES = 48 * 1024
"""The most that one item of a stream of bytes holds."""


@final
class OpenFile(Args, frozen=True, kw_only=True):
    """A file, for reading or for writing. `create` makes it if it is not there, `exclusive` only if it is not (EBUSY
    otherwise), `truncate` empties it."""

    path: str
    mode: Literal["read", "write"] = "read"
    create: bool = False
    exclusive: bool = False
    truncate: bool = False


@final
class FileInfo(Result, frozen=True, kw_only=True):
    """What lies at a path; `size` in bytes, of files only. In a listing `name` is the entry's own; one that is not
    UTF-8 is shown with `\\xNN`, marked `foreign`, and cannot be named in a path."""

    name: str
    kind: EntryKind
    size: int = 0
    modified_s: float = 0.0
    foreign: bool = False


@final
class OpenedFile(Result, frozen=True, kw_only=True):
    """A handle, the caller's own. It stays with the file whatever becomes of the name."""

    file: int
    info: FileInfo


@final
class ReadFile(Args, frozen=True, kw_only=True):
    """`count` bytes (None: all) from `offset` of the file at `path`, or of the open `file`; exactly one of them."""

    path: str | None = None
    file: int | None = None
    offset: int = 0
    count: int | None = None


@final
class FilePiece(Result, frozen=True, kw_only=True):
    """The next bytes, in order."""

    data: bytes


@final
class FileRead(Result, frozen=True, kw_only=True):
    """How many bytes were read."""

    bytes: int


@final
class WriteFile(Args, frozen=True, kw_only=True):
    """`data` to the file at `path` or to the open `file`; exactly one of them.

    `replace` makes it the whole of the file at `path`: whoever reads meanwhile sees the old or the new, never half.
    `append` adds it at the end, `at` writes it at `offset`; both make the file at `path` if it is not there. With
    `sync` it is on the disk when the call returns, and survives a power failure; without, it survives any crash of
    kernos.
    """

    data: bytes
    path: str | None = None
    file: int | None = None
    mode: Literal["replace", "append", "at"] = "replace"
    offset: int = 0
    sync: bool = False


@final
class Written(Result, frozen=True, kw_only=True):
    """The size of the file now."""

    size: int


@final
class ListFiles(Args, frozen=True, kw_only=True):
    """The entries of a folder, in no order, at most `entries_max` of them."""

    path: str
    entries_max: int = 10_000


@final
class Listed(Result, frozen=True, kw_only=True):
    """How many entries were told, and whether there are more."""

    entries: int
    more: bool = False


@final
class FilePath(Args, frozen=True, kw_only=True):
    """Which path."""

    path: str


@final
class MakeFolder(Args, frozen=True, kw_only=True):
    """A new folder; with `parents` those above it too, and then it may be there already."""

    path: str
    parents: bool = False


@final
class RenameFile(Args, frozen=True, kw_only=True):
    """From `path` to `to`, where a file is replaced; both need the right to write. Not between the private tree and a
    folder of the host."""

    path: str
    to: str


@final
class CloseFile(Args, frozen=True, kw_only=True):
    """Which handle."""

    file: int


_PATH = (
    (Errno.EINVAL, "the path is not written out, a name is too long, or what lies there is not of that kind."),
    (Errno.ENOENT, "nothing lies there."),
    (Errno.EPERM, "no right covers it, it leads out of what the right names, or the host's own permissions refuse."),
    (Errno.ETIME, "the file system did not answer in file_io_s seconds: its mount may hang."),
    (Errno.EIO, "the disk failed, or is full."),
)
_HANDLE = (
    (Errno.ESRCH, "no such handle of the caller."),
    (Errno.EPIPE, "the file host died, and at the handle's path lies another file by now."),
)
_GROWTH = (Errno.EQUOTA, "the account cannot pay for the bytes by which the private tree would grow.")
_BYTES = "The bytes by which the private tree grows; nothing for folders of the host."

OPEN = Row(
    0x50, "file.open", OpenFile, OpenedFile, Needs("{mode}", "file:{path}"), Flag.EFFECT | Flag.JOURNALED,
    "Opens a file. A handle is for what is read or written often, or must stay the same file; one read or write "
    "needs none.",
    says=Says(
        waits="For the file system.",
        cancelled="The file may have been made; no handle is left.",
        costs="A handle, of open_files_max per process.",
        errors=(*_PATH, (Errno.EBUSY, "exclusive, and it is there already."), (Errno.EAGAIN, "too many are open.")),
    ),
)  # fmt: skip
READ = Row(
    0x51, "file.read", ReadFile, FileRead, Needs("read", "file:{path}"),
    Flag.STREAM | Flag.IDEMPOTENT | Flag.JOURNALED,
    "Reads a file as a stream of pieces of at most 48 KiB. All of them are of one file, even if another takes its "
    "place meanwhile.",
    FilePiece,
    says=Says(
        waits="For the file system, and for the reader: no more is read ahead than a megabyte.",
        cancelled="Nothing.",
        errors=(*_PATH, *_HANDLE),
    ),
)  # fmt: skip
WRITE = Row(
    0x52, "file.write", WriteFile, Written, Needs("write", "file:{path}"), Flag.EFFECT | Flag.JOURNALED,
    "Writes to a file; at most 16 MiB in one call.",
    says=Says(
        waits="For the file system.",
        cancelled="It may have been written or not: read to know. A replaced file is the old or the new, whole.",
        costs=_BYTES,
        errors=(*_PATH, *_HANDLE, _GROWTH, (Errno.EUNKNOWN, "the file host died under an append.")),
    ),
)  # fmt: skip
LIST = Row(
    0x53, "file.list", ListFiles, Listed, Needs("read", "file:{path}"),
    Flag.STREAM | Flag.IDEMPOTENT | Flag.JOURNALED,
    "The entries of a folder. Links are told as links.", FileInfo,
    says=Says(waits="For the file system, and for the reader.", cancelled="Nothing.", errors=_PATH),
)  # fmt: skip
STAT = Row(
    0x54, "file.stat", FilePath, FileInfo, Needs("read", "file:{path}"), Flag.IDEMPOTENT | Flag.JOURNALED,
    "What lies at a path. A link is told as a link.",
    says=Says(waits="For the file system.", cancelled="Nothing.", errors=_PATH),
)  # fmt: skip
REMOVE = Row(
    0x55, "file.remove", FilePath, Nothing, Needs("write", "file:{path}"), Flag.EFFECT | Flag.JOURNALED,
    "Removes a file, a link or an empty folder.",
    says=Says(
        waits="For the file system.",
        cancelled="It may have been removed or not.",
        costs="Gives back the bytes of a private file.",
        errors=(*_PATH, (Errno.EBUSY, "the folder is not empty."), (Errno.EUNKNOWN, "the file host died under it.")),
    ),
)  # fmt: skip
CLOSE = Row(
    0x56, "file.close", CloseFile, Nothing, None, Flag.INLINE,
    "Gives a handle back; what is still read or written through it ends first.",
    says=Says(errors=((Errno.ESRCH, "no such handle of the caller."),)),
)  # fmt: skip
MAKE_FOLDER = Row(
    0x57, "file.mkdir", MakeFolder, Nothing, Needs("write", "file:{path}"), Flag.EFFECT | Flag.JOURNALED,
    "Makes a folder.",
    says=Says(
        waits="For the file system.",
        cancelled="It may have been made or not.",
        errors=(*_PATH, (Errno.EBUSY, "it is there already."), (Errno.EUNKNOWN, "the file host died under it.")),
    ),
)  # fmt: skip
RENAME = Row(
    0x58, "file.rename", RenameFile, Nothing, Needs("write", "file:{path}"), Flag.EFFECT | Flag.JOURNALED,
    "Gives a file or folder another path, at once.",
    says=Says(
        waits="For the file system.",
        cancelled="It may have been renamed or not.",
        costs="Gives back the bytes of a private file that was replaced.",
        errors=(
            *_PATH,
            (Errno.EBUSY, "a folder that is not empty lies there."),
            (Errno.EUNKNOWN, "the file host died under it."),
        ),
    ),
)  # fmt: skip

ROWS = (OPEN, READ, WRITE, LIST, STAT, REMOVE, CLOSE, MAKE_FOLDER, RENAME)
