"""One OpenAI-compatible server: what it lists, its streams, and its failures as errors of the ABI."""

import ipaddress
from collections.abc import AsyncIterator, Callable
from typing import Any, final

import anyio
import httpx
import msgspec

from drivers.compatible.answer import TEXT_CHARS_SHOWN
from drivers.compatible.refusals import is_html, refusal
from syscalls.errors import Invalid, IOFailed, NoSyscall, NotFound, SyscallError, TimedOut, TryAgain

CONNECT_S = 10.0
LIST_BYTES_MAX = 8 * 1024 * 1024
REFUSAL_BYTES_MAX = 64 * 1024
LISTED_MAX = 12


@final
class Server:
    """A client of one base URL. The key goes out in a header and nowhere else."""

    def __init__(self, origin: str, *, key: str, silence_s: float, slots: int) -> None:
        self.url = origin.rstrip("/")
        try:
            parsed = httpx.URL(self.url)
        except (httpx.InvalidURL, ValueError) as bad:
            raise Invalid(f"{origin} is no URL ({bad}): give one like http://127.0.0.1:8000/v1") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise Invalid(f"{origin} is no http(s) URL: give one like http://127.0.0.1:8000/v1")
        if parsed.userinfo:
            raise Invalid("the URL holds a password: give it by the option credential_file or credential_env")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(silence_s, connect=CONNECT_S, pool=None),
            limits=httpx.Limits(max_connections=slots + 2),
            trust_env=not _is_loopback(parsed.host),
        )

    async def models(self) -> list[dict[str, Any]]:
        """What it lists. Raises NotFound when it has no list, TryAgain when nobody listens, IOFailed for nonsense."""
        url = f"{self.url}/models"
        with _Mapped(self.url):
            response = await self._client.get(url)
            body = response.text
        if response.status_code >= 300:
            raise refusal(response.status_code, body, url=url, retry_after=response.headers.get("retry-after", ""))
        try:
            found = msgspec.json.decode(response.content[:LIST_BYTES_MAX])["data"]
            return [each for each in found if isinstance(each["id"], str)]
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, KeyError, TypeError):
            raise IOFailed(_nonsense(url, body)) from None

    async def pour(self, body: dict[str, Any], take: Callable[[bytes], float | None]) -> None:
        """The bytes of a streaming answer, as `pump` gives them. Raises what the server refused."""
        url = f"{self.url}/chat/completions"
        with _Mapped(self.url):
            async with self._client.stream("POST", url, json=body) as response:
                if response.status_code >= 300:
                    said = await _start_of(response)
                    wait = response.headers.get("retry-after", "")
                    raise refusal(response.status_code, said, url=url, retry_after=wait)
                kind = response.headers.get("content-type", "")
                if not kind.startswith("text/event-stream"):
                    raise IOFailed(_nonsense(url, await _start_of(response), kind=kind))
                await pump(response.aiter_bytes(), take)

    async def complete(self, body: dict[str, Any]) -> bytes:
        """The whole answer of the older completions API. Raises NoSyscall where the server has none, or refuses what
        only this API has; what else it refused."""
        url = f"{self.url}/completions"
        with _Mapped(self.url):
            response = await self._client.post(url, json=body)
        if response.status_code >= 300:
            wait = response.headers.get("retry-after", "")
            refused = refusal(response.status_code, response.text[:REFUSAL_BYTES_MAX], url=url, retry_after=wait)
            if isinstance(refused, NotFound | Invalid):
                raise NoSyscall(f"this server cannot score: {refused.message}")
            raise refused
        return response.content

    async def close(self) -> None:
        await self._client.aclose()


@final
class _Mapped:
    """httpx's exceptions become errors of the ABI at its end."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, failed: BaseException | None, trace: object) -> None:
        if isinstance(failed, httpx.HTTPError):
            raise _error_of(failed, self._url) from None


def _error_of(failed: httpx.HTTPError, url: str) -> SyscallError:
    why = " ".join(str(failed).split())[:TEXT_CHARS_SHOWN] or type(failed).__name__
    match failed:
        case httpx.ConnectError() if "name" in why.lower() and "known" in why.lower():
            return NotFound(f"there is no host of that name ({url}): correct the origin")
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return TryAgain(f"nothing answers at {url} ({why}): start the server, or correct the origin")
        case httpx.TimeoutException():
            return TimedOut(f"{url} was silent for too long: try again, or raise the option silence_s")
        case httpx.RemoteProtocolError() | httpx.ReadError() | httpx.WriteError():
            return IOFailed(f"{url} closed the connection in mid-answer ({why}): ask again; see the server's log")
        case _:
            return IOFailed(f"{url}: {why}")


async def pump(pieces: AsyncIterator[bytes], take: Callable[[bytes], float | None]) -> None:
    """Feeds `take` until it answers how many seconds more may be read unseen (None: all that comes).

    httpx reads through a chain of generators that only an exception from the innermost one unwinds; whoever leaves the
    loop by himself leaves them to the garbage collector and the connection open. So leaving is a cancelled read.
    """
    failed: SyscallError | None = None
    over = False
    with anyio.CancelScope() as scope:
        async for piece in pieces:
            if over:
                continue
            try:
                left_s = take(piece)
            except SyscallError as error:
                failed, left_s = error, 0.0
            if left_s is not None:
                over = True
                scope.deadline = anyio.current_time() + left_s
    if failed is not None:
        raise failed


async def _start_of(response: httpx.Response) -> str:
    read = bytearray()

    def take(piece: bytes) -> float | None:
        read.extend(piece)
        return 0.0 if len(read) > REFUSAL_BYTES_MAX else None

    await pump(response.aiter_bytes(), take)
    return read[:REFUSAL_BYTES_MAX].decode("utf-8", "replace")


def _nonsense(url: str, body: str, *, kind: str = "") -> str:
    what = "a page of HTML" if is_html(body) else f"{kind or 'something'} ({body[:TEXT_CHARS_SHOWN]!r})"
    return f"{url} answered with {what}, not as an OpenAI-compatible API: check the origin (it mostly ends in /v1)"


def _is_loopback(host: str) -> bool:
    """Whether no proxy stands between: what HTTP_PROXY says is for other machines."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listed(names: list[str]) -> str:
    """Names for a sentence, not too many."""
    more = f" and {len(names) - LISTED_MAX} more" if len(names) > LISTED_MAX else ""
    return ", ".join(names[:LISTED_MAX]) + more
