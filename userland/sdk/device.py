"""Devices as a program holds them: tools that are called or streamed, handles on them, collections of a store."""

import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, final

from msgspec import Struct

from syscalls.calls import device as abi
from syscalls.calls import model
from syscalls.calls.device import OpenedDevice, ToolAnswer, ToolItem
from syscalls.errors import Invalid
from syscalls.link.ticket import Stream
from syscalls.turns import ToolSpec
from syscalls.worker_limits import CallLimits
from userland.sdk.capability import Handle
from userland.sdk.door import Door
from userland.sdk.encoding import decode, encode


@final
class ToolReply(Struct, frozen=True):
    """What a tool returned, and the same as text for a model."""

    value: Any
    text: str


@final
class ToolHandle:
    """A tool device: `await handle.method(argument=…)` gives what the tool returned."""

    def __init__(self, device: "Device") -> None:
        self._device = device

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        if method.startswith("_"):
            raise AttributeError(method)

        async def call(**arguments: Any) -> Any:
            return (await self._device.call(method, **arguments)).value

        return call


@final
class Items:
    """What a tool yields, as it comes. The tool waits for whoever takes the items; leaving the block cancels it, and so
    does a reader that is cancelled."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            item: ToolItem = await self._stream.__anext__()
        except StopAsyncIteration:
            raise
        except BaseException:
            self._stream.close()
            raise
        return decode(item.value)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


@final
class Device:
    """A device by name, with the handle that `open` gave or without one. `async with` gives the handle back."""

    def __init__(self, door: Door, name: str, opened: OpenedDevice | None = None) -> None:
        self._door = door
        self.name = name
        self.handle = 0 if opened is None else opened.handle
        self.methods: tuple[ToolSpec, ...] = () if opened is None else opened.methods
        self.streaming: tuple[str, ...] = () if opened is None else opened.streaming

    async def call(
        self,
        method: str,
        /,
        *,
        call_timeout_s: float | None = None,
        call_lend: Sequence[Handle] = (),
        call_limits: CallLimits | None = None,
        **arguments: Any,
    ) -> ToolReply:
        """Calls a method; the reply has its value and the text for a model. Raises what the tool failed with.
        `call_lend` are capabilities of this process that a tool may use while it serves the call; one that runs over
        `call_limits` is ended and raises OverLimit (ELIMIT)."""
        return await self.invoke(method, arguments, timeout_s=call_timeout_s, lend=call_lend, limits=call_limits)

    async def invoke(
        self,
        method: str,
        arguments: Mapping[str, Any],
        *,
        timeout_s: float | None = None,
        lend: Sequence[Handle] = (),
        limits: CallLimits | None = None,
    ) -> ToolReply:
        """As `call`, with arguments that somebody else chose, such as a model: none of them says anything of the call
        itself, whatever its name is."""
        args = self._args(method, arguments, timeout_s, lend, limits)
        answer: ToolAnswer = await self._door.call(abi.CALL, args)
        return ToolReply(decode(answer.value), answer.text)

    def stream(
        self,
        method: str,
        /,
        *,
        call_timeout_s: float | None = None,
        call_lend: Sequence[Handle] = (),
        call_limits: CallLimits | None = None,
        **arguments: Any,
    ) -> Items:
        """What a method yields: `async with device.stream("lines", n=3) as lines: async for line in lines: …`."""
        return Items(
            self._door.stream(abi.STREAM, self._args(method, arguments, call_timeout_s, call_lend, call_limits))
        )

    async def close(self) -> None:
        """Gives the handle back."""
        await self._door.call(abi.CLOSE, abi.CloseDevice(handle=self.handle))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.handle:  # otherwise the program is on its way out, and its handles with it
            await self.close()

    def _args(
        self,
        method: str,
        arguments: Mapping[str, Any],
        timeout_s: float | None,
        lend: Sequence[Handle],
        limits: CallLimits | None,
    ) -> abi.CallTool:
        return abi.CallTool(
            device=self.name,
            method=method,
            arguments=encode(dict(arguments), what="the arguments are a"),
            timeout_s=timeout_s,
            handle=self.handle,
            lend=tuple(each.id for each in lend),
            limits=limits,
        )


async def open_device(door: Door, name: str, *, exclusive: bool = False, collection: str = "") -> Device:
    """A device with a handle. Raises Busy (EBUSY), NotFound, Invalid."""
    args = abi.OpenDevice(device=name, exclusive=exclusive, collection=collection)
    return Device(door, name, await door.call(abi.OPEN, args))


@final
class Collection:
    """A collection of the machine's store: texts by id, found by their meaning. The store keeps ids and vectors alone,
    and may lose them: `ids` tells what is there."""

    def __init__(self, door: Door, device: Device) -> None:
        self._door = door
        self._device = device

    async def add(self, texts: dict[str, str]) -> None:
        """Embeds texts and puts their vectors in, in place of what had these ids."""
        if texts:
            _, vectors = await self._embedded(tuple(texts.values()))
            await self._device.call("add", ids=tuple(texts), vectors=vectors)

    async def query(self, text: str, *, k: int = 3, only: Sequence[str] | None = None) -> list[tuple[str, float]]:
        """The ids nearest to a text and their cosines, best first."""
        _, vector = await self._embedded((text,))
        hits = (await self._device.call("query", vector=vector, k=k, only=only)).value
        return list(zip(hits["ids"], hits["scores"], strict=True))

    async def add_vectors(self, ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Puts vectors of the program's own in. Raises Invalid unless there is one for each id."""
        if len(ids) != len(vectors):
            raise Invalid(f"{len(ids)} ids and {len(vectors)} vectors: give one for each")
        packed = b"".join(struct.pack(f"<{len(each)}f", *each) for each in vectors)
        await self._device.call("add", ids=tuple(ids), vectors=packed)

    async def delete(self, *ids: str) -> None:
        """Takes these out."""
        await self._device.call("delete", ids=ids)

    async def clear(self) -> None:
        """Takes everything out."""
        await self._device.call("delete")

    async def ids(self) -> list[str]:
        """All ids."""
        return list((await self._device.call("ids")).value)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._device.__aexit__(kind, error, trace)

    async def _embedded(self, texts: tuple[str, ...]) -> tuple[int, bytes]:
        got: model.Embedded = await self._door.call(model.EMBED, model.Embed(texts=texts))
        return got.dimensions, got.vectors
