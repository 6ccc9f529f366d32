"""The net family, 0x60: the web, through a broker.

A right is `net:SCHEME://HOST[:PORT]/PATH METHOD,…`: `net:https://api.example.com/v1/** get,post`. The query is no part
of it. Addresses of private networks (loopback, link-local, 10/8, the metadata service of a cloud, and whatever else is
not the public internet) are refused, however they are written and whatever a name resolves to, unless the right has the
action `private`: `net:http://127.0.0.1:8000/** get,private`. Each hop of a redirect needs its own right.
"""

from typing import Annotated, Literal, final

from syscalls.errors import Errno
from syscalls.fetching import Headers
from syscalls.limits import MIB
from syscalls.row import MANY, Args, Flag, Needs, Result, Row, Says

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@final
class Fetch(Args, frozen=True, kw_only=True):
    """A request. `timeout_s` is how long the network may take in all, redirects and body included; the time that the
    reader takes is not counted. `bytes_max` of the body are read, decoded, and no more. `redirects` is how many are
    followed; with 0 the answer that redirects is the answer."""

    url: str
    method: Method = "GET"
    headers: Annotated[Headers, MANY] = ()
    body: bytes = b""
    timeout_s: float = 30.0
    bytes_max: int = 8 * MIB
    redirects: int = 5


@final
class FetchPiece(Result, frozen=True, kw_only=True):
    """The first has the head of the answer (`status`, `headers`, and the `url` that was fetched in the end); those that
    follow have the next bytes of the body."""

    data: bytes = b""
    status: int = 0
    headers: Headers = ()
    url: str = ""


@final
class Fetched(Result, frozen=True, kw_only=True):
    """How many bytes came, whether there were more than `bytes_max`, and how many redirects were followed."""

    bytes: int
    truncated: bool = False
    redirects: int = 0


FETCH = Row(
    0x60, "net.fetch", Fetch, Fetched, Needs("{method}", "net:{url}"),
    Flag.STREAM | Flag.EFFECT | Flag.JOURNALED | Flag.SECRET,
    "Fetches from the web. A status of 400 or 500 is an answer, no error.", FetchPiece,
    says=Says(
        waits="For the network, and for the reader: no more than a megabyte is read ahead of it.",
        cancelled="The connection is closed; what the request did over there is not known.",
        errors=(
            (Errno.EINVAL, "the address, a header or a limit is not as it must be; the message says how."),
            (Errno.EPERM, "no right covers the address and method, also after a redirect, or the address is private."),
            (Errno.ENOENT, "there is no host of that name."),
            (Errno.ETIME, "it took longer than timeout_s."),
            (Errno.EAGAIN, "the caller has fetches_max under way, or nobody listens there."),
            (Errno.EIO, "the connection broke, its certificate is not good, or the answer is no HTTP."),
            (Errno.EUNKNOWN, "the broker died under a request that may have done something."),
        ),
    ),
)  # fmt: skip

ROWS = (FETCH,)
