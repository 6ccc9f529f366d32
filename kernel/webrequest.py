"""Requests of programs to the web: what may be in one, and what becomes of it when it is redirected. Pure."""

import re
from typing import Final, final

from msgspec import Struct
from msgspec.structs import replace

from syscalls.calls.net import Fetch
from syscalls.errors import Invalid, IOFailed
from syscalls.fetching import Headers
from syscalls.weburl import Url, join_url, parse_url

HEADERS_MAX: Final = 64
HEADER_BYTES_MAX: Final = 16 * 1024
REDIRECTS_MAX: Final = 20
TIMEOUT_S_MAX: Final = 600.0
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_THE_BROKERS: Final = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade", "te",
        "trailer", "expect", "accept-encoding", "http2-settings",
    }
)  # fmt: skip
_FOR_ANYBODY: Final = frozenset({"accept", "accept-language", "user-agent", "range", "content-type", "cache-control"})
"""What follows a redirect to another origin. Everything else may be a credential."""
_OF_THE_BODY: Final = frozenset({"content-type", "content-encoding", "content-language", "content-location"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@final
class Request(Struct, frozen=True):
    """One hop."""

    url: Url
    method: str
    headers: Headers = ()
    body: bytes = b""

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent twice: by its method it changes nothing."""
        return self.method in _SAFE


def first_request(args: Fetch) -> Request:
    """The request as it was asked for. Raises Invalid (EINVAL) naming the header or the number that cannot be."""
    if not 0 < args.timeout_s <= TIMEOUT_S_MAX:
        raise Invalid(f"timeout_s {args.timeout_s}: more than 0, at most {TIMEOUT_S_MAX:g}")
    if args.bytes_max < 0 or not 0 <= args.redirects <= REDIRECTS_MAX:
        raise Invalid(f"bytes_max is 0 or more, redirects 0 to {REDIRECTS_MAX}")
    if args.body and args.method in ("GET", "HEAD"):
        raise Invalid(f"a {args.method} has no body: use POST, or put it into the address")
    if len(args.headers) > HEADERS_MAX or sum(len(n) + len(v) for n, v in args.headers) > HEADER_BYTES_MAX:
        raise Invalid(f"at most {HEADERS_MAX} headers of {HEADER_BYTES_MAX} bytes together")
    for name, value in args.headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Invalid(f"header {name!r}: names are of letters, digits and '-', values of one line of Latin-1")
        if name.lower() in _THE_BROKERS or name.lower().startswith("proxy-"):
            raise Invalid(f"header {name}: it belongs to the connection, and the broker sets it")
    headers = tuple((name, value.strip(" \t")) for name, value in args.headers)
    return Request(parse_url(args.url), args.method, headers, args.body)


def redirected(request: Request, status: int, headers: Headers) -> Request | None:
    """What to ask for next; None: this is the answer. To another origin only what anybody may know is sent along.

    Raises IOFailed (EIO) for a redirect to what is no address."""
    location = next((value for name, value in headers if name == "location"), "")
    if status not in _REDIRECTS or not location:
        return None
    try:
        url = join_url(request.url, location)
    except (Invalid, ValueError) as nonsense:
        raise IOFailed(f"{request.url.origin} redirects to what is no address: {nonsense}") from None
    following = replace(request, url=url)
    if (status == 303 and request.method != "HEAD") or (status in (301, 302) and request.method == "POST"):
        kept = tuple(each for each in request.headers if each[0].lower() not in _OF_THE_BODY)
        following = replace(following, method="GET", headers=kept, body=b"")
    if url.origin != request.url.origin:
        public = tuple(each for each in following.headers if each[0].lower() in _FOR_ANYBODY)
        following = replace(following, headers=public)
    return following
