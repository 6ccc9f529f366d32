"""A web of given pages, for tests: what `fetch` serves, without a network, in the loop's own thread.

Option `pages`: JSON, from an address to a page. A page is the text of an answer of 200, or an object with `status`,
`headers` (an object) and `body`. An address with a query is looked for with it, then without. Other pages of a host
that has any are 404; other hosts are not there.
"""

import json
import urllib.parse
from typing import final

import msgspec
import trio
from msgspec import Struct

from syscalls import fetching as abi
from syscalls.driver import Kind, Open, Opened
from syscalls.errors import Invalid, NotFound
from syscalls.hooks import Device, hookimpl


@final
class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """An answer."""

    status: int = 200
    headers: dict[str, str] = {}
    body: str = ""


@final
class Sites:
    """The pages, and the answers that are being read."""

    def __init__(self, pages: dict[str, Page]) -> None:
        self._pages = pages
        self._left: dict[int, bytes] = {}
        self.opened = Opened(device=0, can=("http", "https"), detail={"pages": str(len(pages))})

    async def begin(self, call: abi.Begin, /) -> abi.Began:
        await trio.lowlevel.checkpoint()
        origin = f"{call.scheme}://{call.authority}"
        address = origin + call.target
        page = self._pages.get(address) or self._pages.get(address.partition("?")[0])
        if page is None:
            if not any(known.startswith(origin + "/") for known in self._pages):
                raise NotFound(f"there is no host {call.host} among the pages of this test")
            page = Page(status=404, body=f"no page {address}")
        self._left[call.exchange] = b"" if call.method == "HEAD" else page.body.encode()
        headers = tuple((name.lower(), value) for name, value in page.headers.items())
        return abi.Began(status=page.status, headers=headers, address="192.0.2.1")

    async def pull(self, call: abi.Pull, /) -> abi.Pulled:
        await trio.lowlevel.checkpoint()
        left = self._left.get(call.exchange)
        if left is None:
            raise NotFound(f"there is no exchange {call.exchange}")
        self._left[call.exchange] = left[call.count :]
        return abi.Pulled(data=left[: call.count], done=not left)

    async def release(self, call: abi.Release, /) -> None:
        await trio.lowlevel.checkpoint()
        self._left.pop(call.exchange, None)

    async def resolve(self, call: abi.Resolve, /) -> abi.Resolved:
        await trio.lowlevel.checkpoint()
        if not any(urllib.parse.urlsplit(page).hostname == call.host for page in self._pages):
            raise NotFound(f"there is no host {call.host} among the pages of this test")
        return abi.Resolved(addresses=("192.0.2.1",))

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self._left.clear()


@final
class SitesDriver:
    """Opens webs of given pages."""

    name = "sites"
    kinds: tuple[Kind, ...] = ("fetch",)

    async def open(self, call: Open, /) -> Device:
        await trio.lowlevel.checkpoint()
        try:
            given = json.loads(call.options.get("pages", "{}"))
            pages = msgspec.convert(given, dict[str, str | Page])
        except (ValueError, msgspec.ValidationError) as bad:
            raise Invalid(f"sites: {bad}") from None
        return Sites({_whole(url): Page(body=page) if isinstance(page, str) else page for url, page in pages.items()})


def _whole(url: str) -> str:
    """An address without a path is that of the path `/`."""
    return url if urllib.parse.urlsplit(url).path else url + "/"


@hookimpl
def kernos_driver() -> SitesDriver:
    """A web of given pages."""
    return SitesDriver()
