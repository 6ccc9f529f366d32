"""What a supervisor and the kernel say to each other about a worker of the tier `files`, whose plain files and sockets
the supervisor opens: messages on two SEQPACKET sockets, and the rows under which its deeds stand in the trace.

*Host*, kernel to the process that makes supervisors: a `Serve` for each worker, with its descriptors. *Control*, one
for each worker: the kernel says what the worker's process may do (`Grants`, at first and whenever that changes) and
answers what it is asked; the supervisor asks (`Ask`) and tells what it did and refused (`Did`). A message from the
kernel is there before the call that brought it about is answered, and a supervisor reads what is there before it
decides: so a right that was revoked opens nothing any more.

The supervisor decides by a copy of the rights and tells later, many deeds at a time. Where that is not enough it asks
first: `missing`, where the process waits for what it lacks instead of being refused; `all`, where each deed is counted,
by a limit of calls or of a right's uses.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal, final

from msgspec import Raw, Struct

from syscalls.mounts import file_names
from syscalls.rights import ANY, WHOLE, Right
from syscalls.row import Args, Flag, Row
from syscalls.weburl import DEFAULT_PORTS

MESSAGE_BYTES_MAX: Final = 128 * 1024
DEEDS_MAX: Final = 32
"""In one `Did`: between two of them the kernel's loop turns to others."""
DEEDS_BYTES_MAX: Final = 48 * 1024
SERVE_FDS: Final = ("control", "notify", "root", "pidfd")
"""The descriptors that come with `Serve`, in this order: the worker's control socket, where its calls are answered,
O_PATH of its root, and the worker itself."""

_WHOLE_SITE: Final = re.compile(r"net:[^/]*://(?P<host>\[[^]]*\]|[^/:]+)(?::[^/]*)?/\*\*")

Asking = Literal["never", "missing", "all"]
Needed = tuple[tuple[str, tuple[str, ...]], ...]
"""Actions, each with the names that what it is done to goes by."""


@final
class File(Args, frozen=True, kw_only=True):
    """A path of the host. What is asked of it: reading (looking at it too), writing, or both."""

    path: str
    read: bool = False
    write: bool = False


@final
class Rename(Args, frozen=True, kw_only=True):
    """From a path to another."""

    path: str
    to: str


@final
class Connect(Args, frozen=True, kw_only=True):
    """TCP to `address`, a number; `names` are those that the process has looked up and found there. `private`: it is
    not of the public internet."""

    address: str
    port: int
    names: tuple[str, ...] = ()
    private: bool = False


@final
class Resolve(Args, frozen=True, kw_only=True):
    """The addresses of a name."""

    host: str


OPEN = Row(0x1000, "mediated.open", File, None, None, Flag.EFFECT, "A plain open of a file or folder.")
LOOK = Row(0x1001, "mediated.look", File, None, None, Flag(0), "stat, access and readlink.")
REMOVE = Row(0x1002, "mediated.remove", File, None, None, Flag.EFFECT, "unlink and rmdir.")
MAKE_FOLDER = Row(0x1003, "mediated.mkdir", File, None, None, Flag.EFFECT, "mkdir.")
RENAME = Row(0x1004, "mediated.rename", Rename, None, None, Flag.EFFECT, "rename.")
CHANGE = Row(0x1005, "mediated.change", File, None, None, Flag.EFFECT, "truncate, chmod and utimes.")
CONNECT = Row(0x1006, "mediated.connect", Connect, None, None, Flag.EFFECT, "A plain connect by TCP.")
RESOLVE = Row(0x1007, "mediated.resolve", Resolve, None, None, Flag(0), "A host's name, looked up by the broker.")

ROWS: Final = {row.number: row for row in (OPEN, LOOK, REMOVE, MAKE_FOLDER, RENAME, CHANGE, CONNECT, RESOLVE)}
"""None of them is a system call: their numbers are no call's, and stand in the trace alone."""


@final
class Deed(Struct, frozen=True):
    """Something that a worker asked of its supervisor: a row's number and its arguments. `right` let it in, "" nothing
    did; `error` is the machine's own errno for it, 0 none."""

    row: int
    args: Raw
    right: str = ""
    error: int = 0


@final
class Serve(Struct, frozen=True, tag=True):
    """Answer the calls of worker `pid`, which sees `binds` of its own. No right reaches what lies in `never`."""

    pid: int
    binds: tuple[str, ...]
    never: tuple[str, ...]
    grants: "Grants"


@final
class Grants(Struct, frozen=True, tag=True):
    """What the worker's process may do from now on, and what is to be asked first."""

    rights: tuple[str, ...]
    ask: Asking = "never"


@final
class Answer(Struct, frozen=True, tag=True):
    """To `Ask` number `number`: whether it may be, by which rights (see `needed`); of a name its addresses."""

    number: int
    rights: tuple[str, ...] = ()
    refused: Literal["", "denied", "again", "quota"] = ""
    addresses: tuple[str, ...] = ()


@final
class Ask(Struct, frozen=True, tag=True):
    """May this be done? The kernel records it; what comes of it is not told."""

    number: int
    deed: Deed


@final
class Did(Struct, frozen=True, tag=True):
    """What was done and refused, in order."""

    deeds: tuple[Deed, ...]


@final
class Over(Struct, frozen=True, tag=True):
    """The worker is gone, and all that it did was told. A supervisor that hangs up without this word has died."""


ToSupervisor = Grants | Answer
FromSupervisor = Ask | Did | Over


def needed(args: Args) -> Needed:
    """The rights that it takes, by the names of what it is done to: one decision for both sides."""
    match args:
        case File(path=path):
            names = file_names(path)
            actions = [action for action, asked in (("read", args.read), ("write", args.write)) if asked]
            return tuple((action, names) for action in actions)
        case Rename(path=path, to=to):
            return ("write", file_names(path)), ("write", file_names(to))
        case Connect():
            hosts = (*args.names, args.address)
            names = tuple(tcp_name(host, args.port) for host in hosts)
            names += tuple(name for host in hosts for name in site_names(host, args.port))
            return (("connect", names), ("private", names)) if args.private else (("connect", names),)
    raise AssertionError(f"{args} is decided by may_resolve")


def tcp_name(host: str, port: int) -> str:
    """The resource name of a TCP service."""
    return f"net:tcp:[{host}]:{port}" if ":" in host else f"net:tcp:{host}:{port}"


def site_names(host: str, port: int) -> tuple[str, ...]:
    """The names of the sites of a port, each as a whole: only a right to every action on all of one covers that. Nobody
    sees what is asked for within TLS, so a right to less is none to connect."""
    shown = f"[{host}]" if ":" in host else host
    found = []
    for scheme, own in DEFAULT_PORTS.items():
        found += [f"net:{scheme}://{shown}/{WHOLE}"] if port == own else []
        found.append(f"net:{scheme}://{shown}:{port}/{WHOLE}")
    return tuple(found)


def is_whole_site(right: Right) -> bool:
    """Whether it is to every action on all of a site, or of many."""
    return right.actions == (ANY,) and _WHOLE_SITE.fullmatch(right.resource) is not None


def may_resolve(rights: Iterable[Right], host: str) -> bool:
    """Whether a name may be looked up: by who may connect there, at some port."""
    for right in rights:
        if is_whole_site(right):
            found = _WHOLE_SITE.fullmatch(right.resource)
            assert found is not None
            if Right(f"net:tcp:{found['host']}").allows("connect", f"net:tcp:{host}"):
                return True
        elif right.resource.startswith("net:tcp:"):
            there = Right(right.resource.rpartition(":")[0], right.actions)
            if there.allows("connect", f"net:tcp:{host}"):
                return True
        elif right.allows("connect", tcp_name(host, 0)):
            return True
    return False


def to_resolve(host: str) -> Right:
    """The right to ask for where a name may not be looked up."""
    return Right(f"net:tcp:{host}:*", ("connect",))
