"""What the simulated model says: a pure function of the prompt, the script and the seed."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, final

import msgspec
from msgspec import Struct

from drivers.simulated.tokens import END, heard, spoken
from syscalls.driver import Sampling
from syscalls.errors import CLASS_OF, Errno, Invalid
from syscalls.turns import ToolCall

WORDS = ("a", "small", "ship", "carries", "many", "cups", "on", "one", "ring", "while", "the", "crew", "counts", "them")
WORDS_MIN, WORDS_MAX = 6, 30


@final
class Called(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call of a scripted reply."""

    name: str
    arguments: dict[str, Any] = {}


@final
class Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """One scripted reply. `match` is a regex searched in the last turn; `error` names an errno to fail with; `delay_s`
    passes before the first token."""

    text: str = ""
    calls: tuple[Called, ...] = ()
    match: str | None = None
    error: str | None = None
    delay_s: float = 0.0


def parse_script(text: str) -> tuple[Reply, ...]:
    """Reads a JSON list of replies (a plain string is a reply of text). Raises Invalid that names the entry."""
    try:
        entries = msgspec.json.decode(text, type=list[str | Reply])
        script = tuple(Reply(text=entry) if isinstance(entry, str) else entry for entry in entries)
        for reply in script:
            re.compile(reply.match or "")
            if reply.error is not None:
                Errno[reply.error]
    except KeyError as unknown:
        raise Invalid(f"sim: option script: no errno {unknown}") from None
    except (msgspec.MsgspecError, re.error) as bad:
        raise Invalid(f"sim: option script is a JSON list of replies: {bad}") from None
    return script


def choose(script: Sequence[Reply], prompt: Sequence[int], sampling: Sampling, *, seed: int) -> Reply:
    """The reply to `prompt`: the first whose `match` is found in the last turn; else, of those without `match`, the
    one whose place is the number of answers already in the conversation; else words drawn by the prompt and the seed.

    Nothing is remembered between calls, so that a call made again, here or in another process, is answered alike.
    """
    turns = heard(prompt)
    last = turns[-1].text if turns else ""
    for reply in script:
        if reply.match is not None and re.search(reply.match, last):
            return reply
    ordered = [reply for reply in script if reply.match is None]
    place = sum(turn.role == "assistant" for turn in turns)
    return ordered[place] if place < len(ordered) else Reply(text=_drawn(prompt, sampling, seed))


def ids_of(reply: Reply) -> tuple[int, ...]:
    """The tokens of a reply, its end included. Raises the scripted error."""
    if reply.error is not None:
        raise CLASS_OF[Errno[reply.error]](reply.text or "the script says so")
    calls = [ToolCall(call.name, call.arguments) for call in reply.calls]
    return (*spoken(reply.text, calls).encode(), END)


def _drawn(prompt: Sequence[int], sampling: Sampling, seed: int) -> str:
    chance = sampling.seed if sampling.temperature > 0 else 0
    key = ",".join(map(str, prompt)) + f";{seed};{chance};{sampling.temperature:g}"
    draw = hashlib.blake2b(key.encode(), digest_size=WORDS_MAX + 1).digest()
    count = WORDS_MIN + draw[0] % (WORDS_MAX - WORDS_MIN + 1)
    return " ".join(WORDS[byte % len(WORDS)] for byte in draw[1 : count + 1])
