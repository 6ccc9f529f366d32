"""The driver for models behind any OpenAI-compatible HTTP server: the origin is its base URL, http://HOST:PORT/v1.

Options, all text: `remote_name` (the model's name there; without it the only one that the server lists),
`credential_file` or `credential_env` (where the key is; it is never shown), `window_tokens` (else what the server
lists, else WINDOW_ASSUMED), `slots`, `silence_s`, `limit_field` (`max_completion_tokens` for models that want it),
`echo` (`true`: the server's older completions API tells log-probabilities of a prompt, so that it can score texts).

The server keeps its tokenizer to itself: counts are upper bounds and `generate` takes turns. An answer that was cut
cannot be resumed. `drivers/compatible` is the pure part.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Literal, final

import anyio.lowlevel
import msgspec
from msgspec import Struct

from drivers.compatible.answer import Answer
from drivers.compatible.echo import body_of_echo, scores_in
from drivers.compatible.events import Events
from drivers.compatible.requests import body_of, bounds_of
from syscalls.driver import (
    Embed,
    Embedded,
    Finished,
    Generate,
    Kind,
    Open,
    Opened,
    Render,
    Rendered,
    Score,
    Scored,
    Tokens,
    TokenScore,
)
from syscalls.errors import Invalid, NoSyscall, NotFound, PermissionDenied
from syscalls.hooks import Device, Emit, hookimpl

WINDOW_ASSUMED = 4096
LINGER_S = 0.5
"""For the end of a whole answer to arrive, so that its connection can be used again."""
WINDOW_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")


@final
class OpenAIOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options; see the head of the module."""

    remote_name: str = ""
    credential_file: str = ""
    credential_env: str = ""
    window_tokens: int = 0
    slots: int = 8
    silence_s: float = 300.0
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    echo: bool = False

    def __post_init__(self) -> None:
        if self.slots < 1 or self.window_tokens < 0 or self.silence_s <= 0:
            raise ValueError("slots is at least 1, window_tokens and silence_s are positive")
        if self.credential_file and self.credential_env:
            raise ValueError("give credential_file or credential_env, not both")


@final
class RemoteModel:
    """One model of one server."""

    def __init__(self, server: Any, opened: Opened, *, remote_name: str, limit_field: str) -> None:
        self._server = server
        self._name = remote_name
        self._limit_field = limit_field
        self._busy = anyio.Semaphore(opened.slots)
        self.opened = opened

    async def render(self, call: Render, /) -> Rendered:
        await anyio.lowlevel.checkpoint()
        return bounds_of(call.turns, call.tools)

    async def generate(self, call: Generate, emit: Emit, /) -> Finished:
        """See ModelDevice. Cancelled, it closes the connection, which is how such servers are told to stop."""
        _check(call)
        body = body_of(call, model=self._name, limit_field=self._limit_field)
        answer, events = Answer(call), Events()

        def say(text: str) -> None:
            if text:
                emit(Tokens(text=text))

        def take(piece: bytes) -> float | None:
            say("".join([answer.take(data) for data in events.feed(piece) if not answer.ended]))
            return (0.0 if answer.cut else LINGER_S) if answer.ended else None

        async with self._busy:
            await self._server.pour(body, take)
        if not answer.ended:
            say("".join([answer.take(data) for data in events.finish() if not answer.ended]))
        say(answer.rest())
        return answer.finished(prompt_bound=sum(bounds_of(call.turns, call.tools).counts))

    async def score(self, call: Score, /) -> Scored:
        """Plain texts, where the server echoes. One request for each, since servers differ in what a list gives."""
        if "score" not in self.opened.can:
            raise NoSyscall(
                "this server is not known to score: add the option echo=true if its completions API takes echo and "
                "logprobs"
            )
        if call.prompt or call.continuations:
            raise NoSyscall("this driver has no tokenizer: it scores texts after a text, neither ids nor turns")
        if not call.prompt_text or not call.texts or not all(call.texts):
            raise Invalid("an empty prompt or continuation: give at least a character of each")
        scores: list[tuple[TokenScore, ...]] = []
        read = 0
        async with self._busy:
            for text in call.texts:
                answer = await self._server.complete(body_of_echo(call.prompt_text + text, model=self._name))
                found, counted = scores_in(answer, prompt=call.prompt_text, text=text)
                scores.append(found)
                read += counted or len((call.prompt_text + text).encode())
        return Scored(scores=tuple(scores), prompt_tokens=read)

    async def embed(self, call: Embed, /) -> Embedded:
        raise NoSyscall("this driver does not embed yet: use minilm for embeddings")

    async def close(self) -> None:
        await self._server.close()


def _check(call: Generate) -> None:
    if not call.turns:
        raise Invalid("no turns: this driver has no tokenizer and takes turns, not ids")
    if call.generated:
        raise Invalid("an answer of a remote server cannot be resumed: ask from the start")
    if call.sampling.max_tokens < 1:
        raise Invalid(f"max_tokens is {call.sampling.max_tokens}: ask for at least 1")


@final
class OpenAIDriver:
    """Opens models of OpenAI-compatible servers."""

    name = "openai"
    kinds: tuple[Kind, ...] = ("model",)

    async def open(self, call: Open, /) -> Device:
        try:
            options = msgspec.convert(call.options, OpenAIOptions, strict=False)
        except msgspec.ValidationError as bad:
            raise Invalid(f"openai: {bad}") from None
        try:
            from drivers.compatible.server import Server
        except ImportError as missing:
            raise NotFound(f"the openai driver needs httpx ({missing}): pip install 'kernos[openai]'") from None
        server = Server(call.origin, key=_key(options), silence_s=options.silence_s, slots=options.slots)
        try:
            entry = await _find(server, options.remote_name)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await server.close()
            raise
        opened = _described(entry, options, server.url)
        return RemoteModel(server, opened, remote_name=entry["id"], limit_field=options.limit_field)


async def _find(server: Any, remote_name: str) -> dict[str, Any]:
    """What the server says of the model. Raises NotFound that lists its models."""
    from drivers.compatible.server import listed

    try:
        entries = await server.models()
    except NotFound:
        if not remote_name:
            raise
        return {"id": remote_name}  # a server without a list: the name is tried at the first generation
    names = [str(entry["id"]) for entry in entries]
    if remote_name in names:
        found: dict[str, Any] = entries[names.index(remote_name)]
        return found
    if remote_name:
        raise NotFound(f"{server.url} has no model {remote_name!r}; it lists {listed(names) or 'none'}")
    if len(entries) != 1:
        which = f"{len(names)} models: add the option remote_name, one of {listed(names)}" if names else "no models"
        raise NotFound(f"{server.url} lists {which}")
    return dict(entries[0])


def _described(entry: dict[str, Any], options: OpenAIOptions, url: str) -> Opened:
    told = next((entry[field] for field in WINDOW_FIELDS if isinstance(entry.get(field), int)), 0)
    window = options.window_tokens or told or WINDOW_ASSUMED
    source = "option" if options.window_tokens else "server" if told else "assumed: say window_tokens=N"
    identity = hashlib.sha256(f"{url}\0{entry['id']}".encode()).hexdigest()
    return Opened(
        device=0,
        can=("generate", "stream", "seed", "stop", "tools", "images", *(("score",) if options.echo else ())),
        window_tokens=window,
        slots=options.slots,
        counts="bound",
        template=identity,
        checksum=identity,
        detail={"remote_name": str(entry["id"]), "url": url, "window": source},
    )


def _key(options: OpenAIOptions) -> str:
    """The key, or nothing. Raises NotFound, PermissionDenied or Invalid that names where it was looked for."""
    if options.credential_env:
        where, key = f"the variable {options.credential_env}", os.environ.get(options.credential_env, "")
    elif options.credential_file:
        where = options.credential_file
        try:
            key = Path(where).expanduser().read_text()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"credential_file {where} is no file: make it hold the server's key") from None
        except PermissionError:
            raise PermissionDenied(f"credential_file {where} may not be read: allow it to this user") from None
        except (OSError, UnicodeDecodeError):
            raise Invalid(f"credential_file {where} cannot be read as text: make it hold the key alone") from None
    else:
        return ""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise Invalid(f"{where} holds no key: put the server's key there, one line, nothing else")
    return key


@hookimpl
def kernos_driver() -> OpenAIDriver:
    """Models behind OpenAI-compatible servers."""
    return OpenAIDriver()
