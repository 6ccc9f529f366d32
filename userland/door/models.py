"""`GET /v1/models`."""

from typing import Any, final

import msgspec

from syscalls.calls.model import ModelInfo
from syscalls.errors import NotFound
from userland.door.server import Response
from userland.sdk.system import Sys


@final
class Models:
    """The models that can generate, by the names that the process may use for them."""

    def __init__(self, sys: Sys) -> None:
        self._sys = sys

    async def all(self) -> Response:
        """The list. Raises PermissionDenied (EPERM)."""
        found = [_object(info) for info in await self._sys.models.list() if "embed" not in info.can]
        return Response(200, msgspec.json.encode({"object": "list", "data": found}))

    async def one(self, name: str) -> Response:
        """One of them. Raises NotFound (ENOENT), PermissionDenied (EPERM)."""
        info = await self._sys.models.info(name)
        if "embed" in info.can:
            raise NotFound(f"The model {name!r} does not generate")
        return Response(200, msgspec.json.encode(_object(info)))


def _object(info: ModelInfo) -> dict[str, Any]:
    name = info.ref.partition("@")[0]
    return {"id": name, "object": "model", "created": 0, "owned_by": "kernos", "max_model_len": info.window_tokens}
