"""Which path of the door is which: `/v1` is for OpenAI's clients, `/mcp` for those of MCP."""

import hmac
from typing import final

from syscalls.errors import SyscallError
from userland.door import refusals
from userland.door.chat import Chat
from userland.door.mcp import Mcp
from userland.door.models import Models
from userland.door.server import Request, Response
from userland.sdk.system import Sys


@final
class Routes:
    """Answers one request of the command. `key` is asked for as every OpenAI-compatible server does; that the request
    came in here says already whose it is."""

    def __init__(self, sys: Sys, *, key: str) -> None:
        self._key = f"Bearer {key}".encode()
        self._chat = Chat(sys)
        self._models = Models(sys)
        self._mcp = Mcp(sys)

    async def __call__(self, request: Request) -> Response:
        path = request.path.partition("?")[0].rstrip("/")
        if path == "/mcp":
            return await self._mcp.answer(request)
        shown = request.headers.get("authorization", "").encode("latin-1")
        if path.startswith("/v1/") and not hmac.compare_digest(shown, self._key):
            return refusals.refuse(
                401,
                "Incorrect API key provided: it is in the environment, as OPENAI_API_KEY",
                code="invalid_api_key",
            )
        try:
            match request.method, path:
                case "POST", "/v1/chat/completions":
                    return await self._chat.complete(request.body)
                case "GET", "/v1/models":
                    return await self._models.all()
                case "GET", _ if path.startswith("/v1/models/"):
                    return await self._models.one(path.removeprefix("/v1/models/"))
                case _, "/v1/chat/completions" | "/v1/models":
                    return refusals.refuse(405, f"{request.method} is not for {path}", code="method_not_allowed")
        except SyscallError as failed:
            return refusals.of(failed)
        return refusals.refuse(
            404, f"There is nothing at {path}: there are /v1/chat/completions, /v1/models and /mcp", code="not_found"
        )
