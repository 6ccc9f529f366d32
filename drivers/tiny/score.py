"""The score: what a held-out case is and when a model's two turns are exact; no torch, no model.

Exact means all of this, decided before the first training run and never loosened:
- the first turn is one well-formed tool call with the right name and with exactly the expected argument, which
  must equal one of the accepted strings (with or without a leading article; an expression is compared
  without its spaces);
- the second turn, made after the given tool result, is no tool call and contains the expected text (result,
  definition, fact or sentence) word for word.
"""

from pathlib import Path

import msgspec

from drivers.tiny.wire import Turn, read_call, write_call

HELD_OUT = Path(__file__).parent / "phrasings" / "heldout.json"


class Expected(msgspec.Struct, frozen=True):
    """The call that is asked for; for each argument the strings that count as right."""

    name: str
    arguments: dict[str, tuple[str, ...]]


class Case(msgspec.Struct, frozen=True):
    """A request, the call it must lead to, the tool's result, and what the last turn must contain."""

    id: str
    request: str
    call: Expected
    result: str
    final: str
    values: tuple[str, ...] = ()
    before: tuple[Turn, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """How one case went."""

    case: Case
    called: bool
    finished: bool
    said: tuple[str, str]

    @property
    def exact(self) -> bool:
        """Both turns right."""
        return self.called and self.finished


class _File(msgspec.Struct):
    cases: tuple[Case, ...]


def load(path: Path = HELD_OUT) -> tuple[Case, ...]:
    """The cases of a held-out file; raises msgspec.ValidationError when it is not one."""
    return msgspec.json.decode(path.read_bytes(), type=_File).cases


def call_exact(case: Case, said: str) -> bool:
    """Whether the first turn is the call."""
    call = read_call(said)
    if call is None or call.name != case.call.name or call.arguments.keys() != case.call.arguments.keys():
        return False
    return all(_same(call.name, call.arguments[key], accepted) for key, accepted in case.call.arguments.items())


def _same(tool: str, given: object, accepted: tuple[str, ...]) -> bool:
    if not isinstance(given, str):
        return False
    if tool == "calculate":
        return given.replace(" ", "") in {text.replace(" ", "") for text in accepted}
    return given in accepted


def expected_call(case: Case) -> str:
    """The turn that would have been right; a runner may go on from it when the model's own was not."""
    return write_call(case.call.name, **{key: accepted[0] for key, accepted in case.call.arguments.items()})


def final_exact(case: Case, said: str) -> bool:
    """Whether the last turn says what it must."""
    return "<tool_call>" not in said and case.final in said


def by_tool(verdicts: list[Verdict]) -> dict[str, float]:
    """The share that is exact, for each tool and for `all`."""
    groups: dict[str, list[bool]] = {"all": [v.exact for v in verdicts]}
    for verdict in verdicts:
        groups.setdefault(verdict.case.call.name, []).append(verdict.exact)
    return {name: sum(group) / len(group) for name, group in groups.items() if group}
