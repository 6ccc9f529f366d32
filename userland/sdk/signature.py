"""A program's signature, which is its command line: from a function to a description, from words to arguments."""

import inspect
import json
import types
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Literal, Union, final, get_args, get_origin

import msgspec
from msgspec import Struct

from syscalls.errors import Invalid
from userland.sdk.encoding import from_plain

Kind = Literal["str", "int", "float", "bool", "path", "choice", "json"]
_METAVARS: dict[Kind, str] = {"str": "TEXT", "int": "N", "float": "NUMBER", "path": "PATH", "json": "JSON", "bool": ""}


@final
class Parameter(Struct, frozen=True, kw_only=True):
    """One parameter as a command line has it.

    `many` takes several values; `rest` is `*args`. One that is `positional` may be given by place or by `--name`.
    """

    name: str
    kind: Kind = "json"
    many: bool = False
    rest: bool = False
    positional: bool = True
    required: bool = True
    choices: tuple[str, ...] = ()
    default: Any = None

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


@final
class Signature(Struct, frozen=True):
    """A program's name, what it does, and its parameters in order; sent and shown without importing the program."""

    name: str
    doc: str
    parameters: tuple[Parameter, ...]


# From a function.


@lru_cache(maxsize=64)
def describe(function: Callable[..., Any], *, skip: int = 1) -> Signature:
    """The signature of a program without its first parameter, which is the system calls."""
    found = [_parameter(parameter) for parameter in parameters_of(function)[skip:]]
    return Signature(function.__name__, inspect.getdoc(function) or "", tuple(found))


@lru_cache(maxsize=64)
def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters with their annotations evaluated where that is possible. Raises Invalid for **kwargs."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, SyntaxError, TypeError, AttributeError):
        signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            raise Invalid(
                f"{function.__name__} takes **{parameter.name}: name each parameter, they are its command line"
            )
    return parameters


def _parameter(parameter: inspect.Parameter) -> Parameter:
    kind, many, choices = _kind_of(parameter.annotation)
    rest = parameter.kind is parameter.VAR_POSITIONAL
    required = parameter.default is parameter.empty and not rest
    return Parameter(
        name=parameter.name,
        kind=kind,
        many=many or rest,
        rest=rest,
        positional=parameter.kind is not parameter.KEYWORD_ONLY and kind != "bool",
        required=required,
        choices=choices,
        default=None if required or rest else _shown(parameter.default),
    )


def _kind_of(hint: Any) -> tuple[Kind, bool, tuple[str, ...]]:
    """What an annotation is on a command line: the kind, whether many, and the choices."""
    simple: dict[Any, Kind] = {str: "str", int: "int", float: "float", bool: "bool", inspect.Parameter.empty: "str"}
    if hint in simple:
        return simple[hint], False, ()
    if isinstance(hint, type) and issubclass(hint, PurePath):
        return "path", False, ()
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "choice", False, tuple(str(choice) for choice in args)
    if origin in (Union, types.UnionType):
        present = [arg for arg in args if arg is not types.NoneType]
        return _kind_of(present[0]) if len(present) == 1 else ("json", False, ())
    if origin in (list, tuple, Sequence, Iterable) and args:
        kind, many, choices = _kind_of(args[0])
        if not many and (len(args) == 1 or args[1:] == (...,)):
            return kind, True, choices
    return "json", False, ()


def _shown(default: Any) -> Any:
    """A default as plain data, so that the description can be sent."""
    try:
        return msgspec.to_builtins(default, enc_hook=str)
    except (TypeError, ValueError):
        return str(default)


# From words.


def parse_argv(signature: Signature, argv: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that the words stand for. Raises Invalid that starts with `usage:` and says what is wrong.

    Positionals fill the parameters in order; `--name VALUE`, `--name=VALUE`, `--flag`, `--no-flag`; `--` ends options.
    """
    try:
        words, options = _split(signature, argv)
        return _place(signature, words, options)
    except _Misuse as misuse:
        raise Invalid(f"{usage(signature)}\n{misuse}") from None


def usage(signature: Signature) -> str:
    """One line: `usage: NAME ARG [ARG] [--option VALUE]`; what has a place may be given by `--name` as well."""
    return " ".join(["usage:", signature.name, *(_usage_of(parameter) for parameter in signature.parameters)])


def help_text(signature: Signature) -> str:
    """What `--help` shows: usage, the docstring, a line per parameter."""
    lines = [usage(signature)]
    if signature.doc:
        lines += ["", signature.doc]
    if signature.parameters:
        lines.append("")
    for parameter in signature.parameters:
        what = "|".join(parameter.choices) or parameter.kind
        several = ", several" if parameter.many else ""
        names = parameter.name.upper() if parameter.rest else parameter.option
        if parameter.positional and not parameter.rest:
            names = f"{parameter.name.upper()}, {names}"
        lines.append(f"  {names:<24} {what}{several} {_default_shown(parameter)}".rstrip())
    return "\n".join(lines)


def wants_help(argv: Sequence[str]) -> bool:
    """Whether the words ask for help rather than for a run."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return "--help" in words or "-h" in words


class _Misuse(Exception):
    """What is wrong with the words."""


def _default_shown(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, [], "", False) else f"[{parameter.default}]"


def _usage_of(parameter: Parameter) -> str:
    if parameter.rest:
        return f"[{parameter.name.upper()} ...]"
    if parameter.positional:
        place = parameter.name.upper() + (" ..." if parameter.many else "")
        return place if parameter.required else f"[{place}]"
    if parameter.kind == "bool":
        text = parameter.option if not parameter.default else f"--no-{parameter.option[2:]}"
    else:
        text = f"{parameter.option} {'|'.join(parameter.choices) or _METAVARS[parameter.kind]}"
    return text if parameter.required else f"[{text}]"


def _split(signature: Signature, argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Words by place, and what the options say."""
    by_option = {parameter.option: parameter for parameter in signature.parameters if not parameter.rest}
    words: list[str] = []
    options: dict[str, Any] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("--"):
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        negated = "--" + name[5:] if name.startswith("--no-") else ""
        if name not in by_option and negated in by_option and by_option[negated].kind == "bool":
            options[by_option[negated].name] = False
            continue
        parameter = by_option.get(name)
        if parameter is None:
            raise _Misuse(f"there is no option {name}; there are {', '.join(by_option) or 'none'}")
        if parameter.kind == "bool" and not equals:
            options[parameter.name] = True
            continue
        if not equals:
            if not rest:
                raise _Misuse(f"{name} needs a value")
            value = rest.pop(0)
        parsed = _parse(parameter, value)
        if parameter.many:
            options.setdefault(parameter.name, []).append(parsed)
        elif parameter.name in options:
            raise _Misuse(f"{name} is given twice")
        else:
            options[parameter.name] = parsed
    return words, options


def _place(signature: Signature, words: list[str], options: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Words to the parameters that no option filled, in order; the last that takes many takes all that are left."""
    args: list[Any] = []
    waiting = [p for p in signature.parameters if p.positional and p.name not in options]
    for at, parameter in enumerate(waiting):
        if not words:
            break
        if parameter.many:
            after = sum(1 for later in waiting[at + 1 :] if later.required)
            taken, words = words[: len(words) - after], words[len(words) - after :]
            values = [_parse(parameter, word) for word in taken]
            if parameter.rest:
                args = values
            elif values:
                options[parameter.name] = values
        else:
            options[parameter.name] = _parse(parameter, words.pop(0))
    if words:
        raise _Misuse(f"{words[0]!r} is one argument too many")
    for parameter in signature.parameters:
        if parameter.required and parameter.name not in options:
            raise _Misuse(f"{parameter.name.upper()} is missing")
    if args:  # what stands before *args must go by place as well
        before = [p for p in signature.parameters if p.positional and not p.rest]
        args = [options.pop(p.name) if p.name in options else p.default for p in before] + args
    return args, options


def _parse(parameter: Parameter, word: str) -> Any:
    try:
        match parameter.kind:
            case "int":
                return int(word)
            case "float":
                return float(word)
            case "bool":
                return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[word.lower()]
            case "json":
                return _json_or_text(word)
            case "choice" if word not in parameter.choices:
                raise _Misuse(f"{parameter.option}: {word!r} is not one of {', '.join(parameter.choices)}")
            case _:
                return word
    except (ValueError, KeyError):
        raise _Misuse(f"{parameter.option}: {word!r} is no {parameter.kind}") from None


def _json_or_text(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


# From plain data.


def bind(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], *, skip: int = 1
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments that came as plain data, as the types that the function names. Raises Invalid with the usage."""
    parameters = parameters_of(function)[skip:]
    if not (parameters or args or kwargs):
        return [], {}
    signature = describe(function, skip=skip)
    try:
        bound = inspect.Signature(parameters).bind(*args, **kwargs)
    except TypeError as bad:
        raise Invalid(f"{usage(signature)}\n{bad}") from None
    for parameter in parameters:
        if parameter.name not in bound.arguments or parameter.annotation is parameter.empty:
            continue
        value = bound.arguments[parameter.name]
        hint = parameter.annotation
        if parameter.kind is parameter.VAR_POSITIONAL:
            bound.arguments[parameter.name] = tuple(_convert(signature, parameter.name, each, hint) for each in value)
        else:
            bound.arguments[parameter.name] = _convert(signature, parameter.name, value, hint)
    return list(bound.args), dict(bound.kwargs)


def _convert(signature: Signature, name: str, value: Any, hint: Any) -> Any:
    if isinstance(hint, str):  # an annotation that could not be evaluated binds nobody
        return value
    try:
        return msgspec.convert(value, hint, dec_hook=from_plain)
    except (msgspec.ValidationError, TypeError) as bad:
        raise Invalid(f"{usage(signature)}\n{name}: {bad}") from None
