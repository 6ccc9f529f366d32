"""The signals a process can be sent, as Unix names and numbers them where Unix has them."""

from enum import IntEnum
from typing import final


@final
class Signal(IntEnum):
    """TERM asks the program to end (its scope is cancelled with `Terminated`); KILL ends it without asking. INT is what
    Ctrl-C is to an executable; to a program it is TERM."""

    INT = 2
    KILL = 9
    USR1 = 10
    USR2 = 12
    ALRM = 14
    TERM = 15
    CHLD = 17
    CONT = 18
    STOP = 19
    QUOTA = 24


CATCHABLE = frozenset({Signal.TERM, Signal.USR1, Signal.USR2, Signal.ALRM, Signal.CHLD, Signal.QUOTA})


def parse_signal(text: str) -> Signal:
    """A signal by name (`TERM`, `sigterm`) or number. Raises ValueError that lists the names."""
    name = text.strip().upper().removeprefix("SIG")
    try:
        return Signal(int(name)) if name.isdigit() else Signal[name]
    except (KeyError, ValueError):
        raise ValueError(f"no signal {text!r}: there are {', '.join(signal.name for signal in Signal)}") from None
