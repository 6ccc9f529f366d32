"""Web addresses, parsed once and by one parser: what it makes of one is what rights are checked on and what is
connected to. What other programs read in different ways is refused, not guessed at.

So there are no user names, back slashes, tabs or blanks; no numbers for hosts but plain dotted quads and bracketed
IPv6 (`0x7f.1`, `2130706433` and `0177.0.0.1` are loopback to some and names to others); no `.` or `..` in the path,
encoded or not, for a right to `/public/**` must not reach `/public/..%2Fprivate`; and a host's name is ASCII, an
international one in its `xn--` form, so that it can be told from another.
"""

import ipaddress
import re
import urllib.parse
from typing import Final, final

from msgspec import Struct

from syscalls.errors import Invalid

URL_CHARS_MAX: Final = 8192
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SCHEME = re.compile(r"(https?)://", re.IGNORECASE)
_UGLY = re.compile(r"[\x00-\x20\x7f\\]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ESCAPE = re.compile(r"%(?:([0-9A-Fa-f]{2})|)")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT: Final = "/?:@!$&'()*+,;=-._~%[]"


@final
class Url(Struct, frozen=True):
    """`host` in small letters, an IPv6 address without its brackets; `path` begins with `/`; `query` without its `?`,
    None where there is none."""

    scheme: str
    host: str
    port: int
    path: str
    query: str | None = None

    @property
    def authority(self) -> str:
        """What a Host header says: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def target(self) -> str:
        """What a request line says."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def names(self) -> tuple[str, ...]:
        """The resource names, for the check of rights: without the query; the scheme's own port may be written."""
        name = f"net:{self.origin}{self.path}"
        if self.port != DEFAULT_PORTS[self.scheme]:
            return (name,)
        return (name, f"net:{self.origin}:{self.port}{self.path}")

    def __str__(self) -> str:
        return self.origin + self.target


def parse_url(text: str) -> Url:
    """Raises Invalid (EINVAL) that says what to write instead."""
    if len(text) > URL_CHARS_MAX:
        raise Invalid(f"an address of {len(text)} characters: the longest has {URL_CHARS_MAX}")
    ugly = _UGLY.search(text)
    if ugly is not None:
        raise Invalid(f"{text!r}: an address holds no {ugly[0]!r}: encode it, a blank as %20")
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise Invalid(f"{text!r}: write the whole address, from 'https://' or 'http://'")
    rest = text[scheme.end() :].partition("#")[0]
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    host, port = _host_and_port(authority, text)
    path, mark, query = rest[len(authority) :].partition("?")
    return Url(
        scheme=scheme[1].lower(),
        host=host,
        port=port or DEFAULT_PORTS[scheme[1].lower()],
        path=_path(path or "/", text),
        query=_canonical(query, text) if mark else None,
    )


def join_url(base: Url, location: str) -> Url:
    """Where a redirect from `base` leads. Raises Invalid (EINVAL)."""
    return parse_url(urllib.parse.urljoin(str(base), location.strip().replace(" ", "%20")))


def _host_and_port(authority: str, text: str) -> tuple[str, int]:
    if "@" in authority:
        raise Invalid(f"{text!r}: an address holds no user and password: send an Authorization header")
    if authority.startswith("["):
        inner, bracket, after = authority[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise Invalid(f"{text!r}: an IPv6 address stands in brackets, as in http://[::1]:8000/")
        return _ipv6(inner, text), _port(after[1:], text) if after else 0
    host, colon, port = authority.partition(":")
    return _host(host, text), _port(port, text) if colon else 0


def _ipv6(inner: str, text: str) -> str:
    try:
        if "%" in inner:
            raise ValueError
        return str(ipaddress.IPv6Address(inner))
    except ValueError:
        raise Invalid(f"{text!r}: {inner!r} is no IPv6 address (zones are not taken)") from None


def _port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536 and len(port) < 6):
        raise Invalid(f"{text!r}: {port!r} is no port: a number from 1 to 65535")
    return int(port)


def _host(host: str, text: str) -> str:
    if not host.isascii():
        raise Invalid(f"{text!r}: write the host's name in its ASCII form, xn--…")
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Invalid(f"{text!r}: {host!r} is no name of a host")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise Invalid(f"{text!r}: write an IPv4 address as four decimal numbers, as in 192.0.2.1") from None
    return name


def _path(path: str, text: str) -> str:
    found = _canonical(path, text)
    decoded = urllib.parse.unquote(found, errors="replace")
    if any(part.partition(";")[0] in (".", "..") for part in re.split(r"[/\\]", decoded)):
        raise Invalid(f"{text!r}: write the path out, without '.' and '..'")
    return found


def _canonical(part: str, text: str) -> str:
    """One spelling of what may be spelled in many: escapes only where they must be, in capitals."""

    def escape(found: re.Match[str]) -> str:
        if found[1] is None:
            raise Invalid(f"{text!r}: a '%' that encodes nothing: write it as %25")
        char = chr(int(found[1], 16))
        return char if char in _UNRESERVED else found[0].upper()

    try:
        return urllib.parse.quote(_ESCAPE.sub(escape, part), safe=_KEPT)
    except UnicodeEncodeError:
        raise Invalid(f"{text!r}: it holds half a character") from None
