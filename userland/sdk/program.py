"""The two decorators: `@program` makes an async function a program, `@tool` makes a function a tool of a plugin."""

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, final, overload

import msgspec

from syscalls.calls.process import Tier
from syscalls.errors import Invalid
from syscalls.turns import ToolSpec
from userland.sdk.signature import Signature, describe, parameters_of

_SYS = ("userland.sdk.system", "Sys")


@final
class Program:
    """A program: its function, and the signature that is its command line. Calling it calls the function.

    `shared`: its processes may live in one worker with their equals; `tier`: what its worker may use of the machine;
    see `program`."""

    def __init__(self, function: Callable[..., Awaitable[Any]], *, shared: bool = False, tier: Tier = "pure") -> None:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function.__name__} is no program: write `async def {function.__name__}(sys: Sys, …)`")
        self.function = function
        self.shared = shared
        self.tier: Tier = tier
        self.name = function.__name__
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    @property
    def signature(self) -> Signature:
        """Its command line."""
        return describe(self.function)

    @property
    def ref(self) -> str:
        """What spawn calls it: `/absolute/file.py:NAME`."""
        return f"{Path(inspect.getfile(self.function)).resolve()}:{self.name}"

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        return self.function(*args, **kwargs)


@overload
def program(function: Callable[..., Awaitable[Any]], /) -> Program: ...
@overload
def program(*, shared: bool = ..., tier: Tier = ...) -> Callable[[Callable[..., Awaitable[Any]]], Program]: ...
def program(
    function: Callable[..., Awaitable[Any]] | None = None, /, *, shared: bool = False, tier: Tier = "pure"
) -> Any:
    """Makes `async def name(sys: Sys, …)` a program. What it returns crosses to whoever waits for it.

    `@program(shared=True)`: processes of it that are equal in principal, parent account and rights may live in one
    worker, thousands for the price of one. There is no wall between them: globals are shared, what one may do all may,
    one that computes without a pause holds up the others, and one that crashes the worker takes them along.

    `@program(tier="files")`: plain files and sockets work in it, by its rights (see process.spawn), where a program
    spawns it as the function that it is; who names it by its file or name says so there (`kernos run --tier files`).
    """
    if function is None:
        return lambda found: Program(found, shared=shared, tier=tier)
    return Program(function)


@final
class Tool:
    """A tool: its function, and what a model is told of it. Calling it calls the function."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    @property
    def spec(self) -> ToolSpec:
        """Name, the docstring's first paragraph, and the parameters as a JSON Schema."""
        doc = (inspect.getdoc(self.function) or "").partition("\n\n")[0].replace("\n", " ")
        return ToolSpec(self.name, doc, schema_of(self.function, skip=int(self.calls)))

    @property
    def calls(self) -> bool:
        """Whether its first parameter is a `Sys`: then it makes system calls, with its plugin's rights and with what
        was lent for the call that it serves."""
        first = next(iter(parameters_of(self.function)), None)
        kind = None if first is None else first.annotation
        return kind == "Sys" or (getattr(kind, "__module__", ""), getattr(kind, "__name__", "")) == _SYS

    @property
    def streams(self) -> bool:
        """Whether it yields items: a generator function, sync or async."""
        return inspect.isasyncgenfunction(self.function) or inspect.isgeneratorfunction(self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(*, name: str) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Makes a function, sync or async, a tool: typed parameters become the schema, the docstring the description. One
    whose first parameter is a `Sys` may make system calls. One that yields streams: what is yielded goes out item by
    item, as fast as somebody takes it."""
    if function is None:
        return lambda found: Tool(found, name or found.__name__)
    return Tool(function, function.__name__)


def schema_of(function: Callable[..., Any], *, skip: int = 0) -> dict[str, Any]:
    """The parameters after the first `skip` as the JSON Schema of an object. Raises Invalid where a type has none."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in parameters_of(function)[skip:]:
        properties[parameter.name] = _schema(function.__name__, parameter)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {"type": "object", "properties": properties, "required": required}


def _schema(owner: str, parameter: inspect.Parameter) -> dict[str, Any]:
    if parameter.annotation is parameter.empty:
        return {}
    try:
        return msgspec.json.schema(parameter.annotation)
    except TypeError as bad:
        raise Invalid(f"{owner}: parameter {parameter.name} has no JSON Schema: {bad}") from None
