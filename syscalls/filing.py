"""The part of the driver ABI that a file host serves: paths below the root of a tree, and descriptors that it holds.

The kernel has checked the right by the path's text and says which tree it lies in; that nothing on the way leads out of
the tree is the host's to enforce. The kernel chooses a descriptor's number, at random: it can give back what it no
longer waits for, and a number that a host which died knew is known to no other.
"""

from typing import Literal, final

from msgspec import Struct

from syscalls.row import Args, Flag, Result, Row

EntryKind = Literal["file", "folder", "link", "other"]


@final
class Tree(Struct, frozen=True, omit_defaults=True):
    """The folder `root`, an absolute path in which no link is followed. Links below it are followed with `follow`, as
    long as they stay below. A `private` root is made on demand, and what its files grow by is told exactly."""

    root: str
    follow: bool = False
    private: bool = False


@final
class Stat(Result, frozen=True, kw_only=True):
    """What lies at a path. `identity` stays the same as long as it is the same file."""

    kind: EntryKind
    size: int = 0
    modified_s: float = 0.0
    identity: str = ""


@final
class Open(Args, frozen=True, kw_only=True):
    """A regular file. `write` opens it for writing only; `create` makes it if it is not there, `exclusive` only if it
    is not."""

    device: int
    file: int
    tree: Tree
    path: str
    write: bool = False
    create: bool = False
    exclusive: bool = False
    truncate: bool = False


@final
class Opened(Result, frozen=True, kw_only=True):
    """What was opened; `grown` is what truncating gave back, as a negative number."""

    stat: Stat
    grown: int = 0


@final
class Read(Args, frozen=True, kw_only=True):
    """`count` bytes from `offset`; fewer only at the end."""

    device: int
    file: int
    offset: int
    count: int


@final
class Bytes(Result, frozen=True, kw_only=True):
    """What was read."""

    data: bytes


@final
class Write(Args, frozen=True, kw_only=True):
    """`data` at `offset`, or with None at the end, wherever that is by then. Refused with EAGAIN if the file would grow
    by more than `grow_max`. `sync` waits until it is on disk."""

    device: int
    file: int
    data: bytes
    offset: int | None = None
    grow_max: int | None = None
    sync: bool = False


@final
class Replace(Args, frozen=True, kw_only=True):
    """The whole of a file, new or in another's place: whoever reads meanwhile sees the old or the new, never half."""

    device: int
    tree: Tree
    path: str
    data: bytes
    grow_max: int | None = None
    sync: bool = False


@final
class Changed(Result, frozen=True, kw_only=True):
    """By how many bytes the tree has grown (negative: shrunk), and the file's size."""

    grown: int = 0
    size: int = 0


@final
class File(Args, frozen=True, kw_only=True):
    """Which descriptor."""

    device: int
    file: int


@final
class Place(Args, frozen=True, kw_only=True):
    """Which path of which tree; `.` is its root."""

    device: int
    tree: Tree
    path: str


@final
class Scan(Args, frozen=True, kw_only=True):
    """A folder, to be read entry by entry."""

    device: int
    file: int
    tree: Tree
    path: str


@final
class Next(Args, frozen=True, kw_only=True):
    """The next entries of a folder that was opened with `files.scan`."""

    device: int
    file: int
    count: int


@final
class Entry(Result, frozen=True, kw_only=True):
    """One entry. A name that is not UTF-8 is shown with `\\xNN` and marked `foreign`: it cannot be named in a path."""

    name: str
    kind: EntryKind
    size: int = 0
    modified_s: float = 0.0
    foreign: bool = False


@final
class Entries(Result, frozen=True, kw_only=True):
    """Some entries, in the folder's own order; none is the end."""

    entries: tuple[Entry, ...]


@final
class MakeFolder(Args, frozen=True, kw_only=True):
    """A folder, and with `parents` those above it; then it may be there already."""

    device: int
    tree: Tree
    path: str
    parents: bool = False


@final
class Rename(Args, frozen=True, kw_only=True):
    """From a path to another, in whose place it comes if that is a file."""

    device: int
    tree: Tree
    path: str
    to_tree: Tree
    to_path: str


@final
class Done(Result, frozen=True, kw_only=True):
    """No result."""


OPEN = Row(0x30, "files.open", Open, Opened, None, Flag(0), "Opens a file.")
READ = Row(0x31, "files.read", Read, Bytes, None, Flag(0), "Reads.")
WRITE = Row(0x32, "files.write", Write, Changed, None, Flag.EFFECT, "Writes.")
REPLACE = Row(0x33, "files.replace", Replace, Changed, None, Flag.EFFECT, "Writes a whole file at once.")
CLOSE = Row(0x34, "files.close", File, Done, None, Flag(0), "Gives a descriptor back.")
STAT = Row(0x35, "files.stat", Place, Stat, None, Flag.IDEMPOTENT, "What lies at a path; a link is told as a link.")
SCAN = Row(0x36, "files.scan", Scan, Opened, None, Flag(0), "Opens a folder.")
NEXT = Row(0x37, "files.next", Next, Entries, None, Flag(0), "The next entries of a folder.")
REMOVE = Row(0x38, "files.remove", Place, Changed, None, Flag.EFFECT, "Removes a file, a link or an empty folder.")
MAKE_FOLDER = Row(0x39, "files.make_folder", MakeFolder, Done, None, Flag.EFFECT, "Makes a folder.")
RENAME = Row(0x3A, "files.rename", Rename, Changed, None, Flag.EFFECT, "Renames.")

ROWS = (OPEN, READ, WRITE, REPLACE, CLOSE, STAT, SCAN, NEXT, REMOVE, MAKE_FOLDER, RENAME)
