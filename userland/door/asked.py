"""A request for a chat completion, read and checked: what this server does not do is refused, never passed over."""

import base64
import binascii
from typing import Any, Literal, final

import msgspec
from msgspec import Struct

from syscalls.errors import Invalid
from syscalls.turns import Image, Part, Role, Text, ToolCall, ToolResult, ToolSpec, Turn

TOKENS_DEFAULT = 512
"""Where a request names no most."""
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


@final
class Function(Struct):
    name: str
    arguments: str = "{}"


@final
class Call(Struct):
    function: Function
    id: str = ""


@final
class Message(Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str = ""
    name: str = ""


@final
class Described(Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


@final
class ToolAsked(Struct):
    function: Described
    type: str = "function"


@final
class StreamOptions(Struct):
    include_usage: bool = False


@final
class Asked(Struct):
    """The fields that are read. Those that would change the answer and are not honoured are checked to ask nothing."""

    model: str
    messages: list[Message]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[ToolAsked] | None = None
    tool_choice: Any = None
    n: int | None = None
    logprobs: bool | None = None
    response_format: dict[str, Any] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether the stream ends with what it cost."""
        return self.stream_options is not None and self.stream_options.include_usage

    def turns(self) -> tuple[Turn, ...]:
        """The messages as turns. Raises Invalid (EINVAL)."""
        names = {call.id: call.function.name for each in self.messages for call in each.tool_calls or ()}
        return tuple(_turn(each, names) for each in self.messages)

    def options(self) -> dict[str, Any]:
        """What model.generate is told besides the turns."""
        tools = () if self.tool_choice == "none" else tuple(_spec(each.function) for each in self.tools or ())
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        most = self.max_completion_tokens or self.max_tokens
        options: dict[str, Any] = {
            "model": self.model,
            "tools": tools,
            "max_tokens": most or TOKENS_DEFAULT,
            "clip": most is None,  # who names no most wants what the budget still pays for
            "seed": self.seed,
            "stop": stop,
        }
        if self.temperature is not None:
            options["temperature"] = self.temperature
        if self.top_p is not None:
            options["top_p"] = self.top_p
        return options

    def check(self) -> None:
        """Raises Invalid (EINVAL) that names the field."""
        if not self.messages:
            raise Invalid("'messages' is empty: give at least one")
        if self.n not in (None, 1):
            raise Invalid("'n' is 1 here: ask again for another answer")
        if self.logprobs or self.logit_bias or self.frequency_penalty or self.presence_penalty:
            raise Invalid("'logprobs', 'logit_bias' and penalties are not done here")
        if self.response_format is not None and self.response_format.get("type") != "text":
            raise Invalid("'response_format' is text here")
        if self.tool_choice not in (None, "auto", "none"):
            raise Invalid("'tool_choice' is 'auto' or 'none' here: a model is not made to call")
        limits = (self.max_tokens, self.max_completion_tokens)
        if any(limit is not None and limit < 1 for limit in limits):
            raise Invalid("'max_tokens' is at least 1")


_decode = msgspec.json.Decoder(Asked).decode


def parse(body: bytes) -> Asked:
    """Reads a request. Raises Invalid (EINVAL) that says what is wrong with it."""
    try:
        asked = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
        raise Invalid(f"the request cannot be read: {bad}") from None
    asked.check()
    return asked


def _turn(message: Message, names: dict[str, str]) -> Turn:
    if message.role == "tool":
        text = "".join(part.text for part in _parts(message.content) if isinstance(part, Text))
        name = message.name or names.get(message.tool_call_id, "")
        return Turn("tool", (ToolResult(text, name, message.tool_call_id),))
    role = _ROLES.get(message.role)
    if role is None:
        raise Invalid(f"no role {message.role!r}: system, developer, user, assistant or tool")
    calls = tuple(_call(each) for each in message.tool_calls or ())
    return Turn(role, (*_parts(message.content), *calls) or (Text(""),))


def _parts(content: str | list[dict[str, Any]] | None) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(_part(each) for each in content)


def _part(part: dict[str, Any]) -> Part:
    kind: Literal["text"] | Any = part.get("type")
    if kind in ("text", "input_text") and isinstance(part.get("text"), str):
        return Text(part["text"])
    if kind == "image_url":
        return _image(part.get("image_url"))
    raise Invalid(f"a part of type {kind!r}: text and image_url are read here")


def _image(told: Any) -> Image:
    url = told.get("url") if isinstance(told, dict) else told
    if not isinstance(url, str) or not url.startswith("data:") or ";base64," not in url:
        raise Invalid("an image is given as a data URL (data:image/png;base64,…): nothing is fetched for it")
    media_type, _, data = url.removeprefix("data:").partition(";base64,")
    try:
        return Image(base64.b64decode(data, validate=True), media_type)
    except (binascii.Error, ValueError):
        raise Invalid("an image's data URL is no base64") from None


def _call(call: Call) -> ToolCall:
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Invalid(f"the arguments of the call {call.id!r} are no JSON object") from None
    return ToolCall(call.function.name, arguments, call.id)


def _spec(function: Described) -> ToolSpec:
    return ToolSpec(function.name, function.description or "", function.parameters or _NO_PARAMETERS)
