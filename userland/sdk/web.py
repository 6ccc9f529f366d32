"""What a program fetches from the web."""

import codecs
import json
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self, final

from msgspec import Struct

from syscalls.calls import net
from syscalls.calls.net import Fetched, FetchPiece
from syscalls.errors import Canceled, IOFailed
from syscalls.link.ticket import Stream
from userland.sdk.door import Door


@final
class Answer(Struct, frozen=True):
    """A whole answer. `url` is where it came from in the end; header names are in small letters; `truncated`: the body
    was longer than `bytes_max`."""

    status: int
    url: str
    headers: dict[str, str]
    body: bytes
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text, in the charset it says, else UTF-8; what does not fit is replaced."""
        return self.body.decode(_charset(self.headers.get("content-type", "")), "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError for a body that is none."""
        return json.loads(self.body)


@final
class Fetch:
    """A request that is made when it is first waited for: `await` gives the whole Answer; with `async with` and `async
    for` the body comes in pieces, after `await head()`."""

    def __init__(self, door: Door, args: net.Fetch) -> None:
        self._door = door
        self._args = args
        self._stream: Stream | None = None
        self._head: Answer | None = None

    def __await__(self) -> Generator[Any, None, Answer]:
        return self._whole().__await__()

    async def head(self) -> Answer:
        """Status, url and headers; its body is empty."""
        if self._head is None:
            self._stream = self._door.stream(net.FETCH, self._args)
            try:
                first: FetchPiece = await self._stream.__anext__()
            except StopAsyncIteration:
                raise IOFailed("the answer had no head") from None
            except BaseException:
                self.close()
                raise
            self._head = Answer(first.status, first.url, _as_dict(first.headers), b"")
        return self._head

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await self.head()
        assert self._stream is not None
        try:
            piece: FetchPiece = await self._stream.__anext__()
        except StopAsyncIteration:
            raise
        except BaseException:
            self.close()
            raise
        return piece.data

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives up what was not read; the connection is closed."""
        if self._stream is not None:
            self._stream.close()

    async def _whole(self) -> Answer:
        head = await self.head()
        body = b"".join([piece async for piece in self])
        assert self._stream is not None
        fetched: Fetched | None = await self._stream.result()
        if fetched is None:
            raise Canceled("this request was given up before its answer had ended")
        return Answer(head.status, head.url, head.headers, body, fetched.truncated)


def _as_dict(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """One value a name; those of a name that came twice are joined as HTTP joins them."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.strip().partition("=")
        if name.lower() == "charset":
            try:
                return codecs.lookup(value.strip("\"' ")).name
            except LookupError:
                break
    return "utf-8"


def request(
    url: str,
    method: net.Method,
    headers: dict[str, str] | None,
    body: bytes | str,
    json_body: Any,
    timeout_s: float,
    bytes_max: int,
    redirects: int,
) -> net.Fetch:
    """The arguments of net.fetch."""
    given = dict(headers or {})
    if json_body is not None:
        body = json.dumps(json_body)
        if not any(name.lower() == "content-type" for name in given):
            given["Content-Type"] = "application/json"
    return net.Fetch(
        url=url,
        method=method,
        headers=tuple(given.items()),
        body=body.encode() if isinstance(body, str) else body,
        timeout_s=timeout_s,
        bytes_max=bytes_max,
        redirects=redirects,
    )
