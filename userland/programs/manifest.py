"""What the shipped programs ask for: the rights that `kernos run` grants them, in one place."""

_MODELS = ("model:*", "context:own", "process:self", "process:children", "account:own usage")
_TOOLS = ("tool:calculator.* call", "tool:glossary.* call")
_DOCUMENTS = "parser:*"

RIGHTS: dict[str, tuple[str, ...]] = {
    "ask": (*_MODELS, *_TOOLS, _DOCUMENTS),
    "chat": (*_MODELS, *_TOOLS),
    "crew": (*_MODELS, *_TOOLS, _DOCUMENTS, "program:ask spawn"),
    "job": (*_MODELS, *_TOOLS, _DOCUMENTS),
}
"""Folders come on top: those that are named on the command line, or in the job file."""

DEFAULT = _MODELS
"""For an installed program that is not one of ours."""


def rights_of(program: str) -> tuple[str, ...]:
    """The rights that the program named `program` asks for."""
    return RIGHTS.get(program, DEFAULT)
