"""Shorthand for the turns of a conversation."""

from syscalls.turns import Text, ToolResult, Turn


def system(text: str) -> Turn:
    """What the model is told before everything else."""
    return Turn("system", (Text(text),))


def user(text: str, *, source: str = "") -> Turn:
    """What a person says, or a document read in; `source` names where it came from."""
    return Turn("user", (Text(text),), source)


def assistant(text: str) -> Turn:
    """What the model is taken to have said."""
    return Turn("assistant", (Text(text),))


def tool_result(text: str, *, name: str = "", id: str = "", error: bool = False, source: str = "") -> Turn:
    """What a tool answered to the call `id`."""
    return Turn("tool", (ToolResult(text, name, id, error),), source)
