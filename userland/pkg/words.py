"""Rights as sentences for people, grouped by what could go wrong."""

from enum import IntEnum
from typing import Final, final

from msgspec import Struct

from syscalls.package import Ask
from syscalls.rights import ANY, Right


class Danger(IntEnum):
    """How much harm a right could do in wrong hands; the worst first."""

    HARM = 0
    SIGHT = 1
    ORDINARY = 2


TITLES: Final = {
    Danger.HARM: "could do harm: change or delete what is yours, act in your name",
    Danger.SIGHT: "could see what is yours, or send it away",
    Danger.ORDINARY: "ordinary",
}
_VERBS: Final = {
    ("model", "generate"): "let {} write",
    ("model", "embed"): "turn text into vectors with {}",
    ("context", ANY): "do anything with {}",
    ("file", "read"): "read {}",
    ("file", "write"): "create, change and delete {}",
    ("program", "spawn"): "start {}",
    ("tool", "call"): "use {}",
    ("parser", "parse"): "have {} make text of files",
    ("parser", "list"): "list {}",
    ("store", "call"): "search and change {}",
    ("account", "usage"): "see what {} used",
    ("account", "limit"): "change the limits of {}",
    ("account", "transfer"): "move budgets from {}",
    ("process", "kill"): "end {}",
    ("process", "grant"): "give rights to {}",
    ("process", "send"): "send messages to {}",
    ("process", "logs"): "read what {} printed",
    ("process", "list"): "list {}",
    ("topic", "publish"): "publish on {}",
    ("topic", "subscribe"): "listen on {}",
    ("kernel", "shutdown"): "stop the kernel",
    ("kernel", "trace"): "read the trace of every program's system calls",
    ("kernel", "log"): "read the kernel's log",
    ("kernel", "answer"): "answer when programs ask for rights",
    ("kernel", "info"): "ask about the kernel",
}
_THINGS: Final = {"own": "its own", "self": "itself", "children": "what it started", "parent": "who started it"}
_NOUNS: Final = {
    "model": ("model", "any model"),
    "context": ("conversation", "any conversation of yours"),
    "tool": ("tool", "any tool"),
    "parser": ("parser", "any parser of documents"),
    "program": ("program", "any program"),
    "account": ("account", "any account"),
    "process": ("process", "any process"),
    "topic": ("topic", "any topic"),
    "store": ("store", "any store"),
    "device": ("device", "any device"),
    "capability": ("capability", "any capability"),
    "kernel": ("the kernel's", "every part of the kernel"),
}
_OF_ITSELF: Final = ("own", "self", "children", "parent")
_HARMLESS_PARTS: Final = frozenset({"kernel:info", "kernel:metrics"})
_LOOKING: Final = frozenset({"get", "head", "options"})


@final
class Sentence(Struct, frozen=True):
    """A right in words. `why` is what the package says."""

    danger: Danger
    right: str
    words: str
    why: str = ""
    optional: bool = False


def sentences(asks: tuple[tuple[Ask, Right], ...]) -> list[Sentence]:
    """What is asked for, the worst first; in the order of the manifest otherwise."""
    told = [Sentence(danger(right), str(right), words(right), ask.why, ask.optional) for ask, right in asks]
    return sorted(told, key=lambda sentence: sentence.danger)


def told(sentences_: list[Sentence]) -> list[str]:
    """The sentences under their titles, as lines."""
    lines: list[str] = []
    for danger_ in Danger:
        group = [sentence for sentence in sentences_ if sentence.danger is danger_]
        if group:
            lines.append(f"  {TITLES[danger_]}")
        for sentence in group:
            lines.append(f"    - {sentence.words}{' (if you like)' if sentence.optional else ''}")
            if sentence.why:
                lines.append(f"      because: {sentence.why}")
            lines.append(f"      right: {sentence.right}")
    return lines


def danger(right: Right) -> Danger:
    """How bad it could get: what is not known to be harmless is not."""
    kind, _, rest = right.resource.partition(":")
    actions = set(right.actions)
    match kind:
        case "file":
            own = rest == "~" or rest.startswith("~/")
            return Danger.ORDINARY if own else Danger.SIGHT if actions <= {"read"} else Danger.HARM
        case "net":
            return Danger.SIGHT if actions <= _LOOKING and not rest.startswith("*") else Danger.HARM
        case "model" | "parser":  # a parser can do nothing but compute, whatever it is given
            return Danger.ORDINARY
        case "tool" | "store" | "topic" | "device":
            return Danger.SIGHT if "*" in rest.partition(".")[0] else Danger.ORDINARY
        case "context":
            return Danger.ORDINARY if rest in _OF_ITSELF else Danger.SIGHT
        case "process" | "account" | "capability":
            if rest in _OF_ITSELF:
                return Danger.ORDINARY
            return Danger.SIGHT if actions <= {"list", "logs", "usage", "capabilities"} else Danger.HARM
        case "program":
            return Danger.SIGHT if "*" in rest else Danger.ORDINARY
        case "kernel":
            looking = actions <= {"info", "metrics", "trace", "log", "events", "list", "packages"}
            if right.resource in _HARMLESS_PARTS:
                return Danger.ORDINARY
            return Danger.SIGHT if looking else Danger.HARM
    return Danger.HARM


def words(right: Right) -> str:
    """A right as what its holder can do."""
    kind, colon, rest = right.resource.partition(":")
    if not colon:
        return "do everything that you can" if right.actions == (ANY,) else f"{_joined(right.actions)} everything"
    if kind == "net":
        return _web(rest, right.actions)
    thing = _file(rest) if kind == "file" else _thing(kind, rest)
    if kind == "file" and (right.actions == (ANY,) or set(right.actions) == {"read", "write"}):
        return f"read, create, change and delete {thing}"
    known = [_VERBS.get((kind, action)) for action in right.actions]
    if right.actions == (ANY,):
        return f"use {thing} in every way"
    phrases = [verb.format(thing) for verb in known if verb is not None]
    others = [action for action, verb in zip(right.actions, known, strict=True) if verb is None]
    if others:
        phrases.append(f"{_joined(tuple(others))} {thing}")
    return _joined(tuple(phrases))


def _joined(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _file(path: str) -> str:
    path = path[1:] if path.startswith("/<") else path  # a blank: an absolute path will stand there
    if path in ("**", "/**"):
        return "every file of yours"
    if path == "~" or path.startswith("~/"):
        return "files in a folder that kernos keeps for its programs"
    if path.endswith("/**") and "*" not in path[:-3]:
        return f"all that lies in {path[:-3]}"
    return f"files named {path}" if "*" in path else f"the file {path}"


def _thing(kind: str, rest: str) -> str:
    noun, all_ = _NOUNS.get(kind, (kind, f"any {kind}"))
    if rest in ("*", "**"):
        return all_
    if rest in _THINGS:
        return f"its own {noun}s" if rest == "own" else _THINGS[rest]
    if kind == "tool" and rest.endswith(".*"):
        return f"the tool {rest[:-2]}"
    return f"{noun} {rest}" if kind == "kernel" else f"the {noun} {rest}"


def _web(rest: str, actions: tuple[str, ...]) -> str:
    host, _, path = rest.partition("://")[2].partition("/")
    where = "any site on the web" if host in ("*", "**") else host
    where += "" if path == "**" else f" below /{path.removesuffix('**')}" if path else ""
    if set(actions) <= _LOOKING:
        return f"fetch pages from {where}"
    if set(actions) & {"private", ANY}:
        return f"send anything to {where}, machines of your own network among them"
    return f"send data to {where}"
