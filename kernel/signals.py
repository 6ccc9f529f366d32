"""What signals do to one process: its own choice for each, and those that are held until it asks."""

from typing import final

from kernel.wait import Bell
from syscalls.calls.signalling import Action
from syscalls.errors import Invalid
from syscalls.signals import CATCHABLE, Signal


@final
class Signals:
    """Made for a process that chooses something; all others have the defaults and none of these."""

    __slots__ = ("_actions", "_held", "came")

    def __init__(self) -> None:
        self._actions: dict[Signal, Action] = {}
        self._held: dict[Signal, None] = {}
        self.came = Bell()

    def choose(self, number: Signal, action: Action) -> None:
        """From now on `number` does this; what is held of it is forgotten unless it is held on. Raises Invalid for one
        of the machine's own."""
        if number not in CATCHABLE:
            raise Invalid(f"{number.name} does what it does: a program cannot choose")
        self._actions[number] = action
        if action != "hold":
            self._held.pop(number, None)

    def action(self, number: Signal) -> Action:
        """What `number` does."""
        return self._actions.get(number, "default")

    def hold(self, number: Signal) -> None:
        """It has come and is kept; twice is the same as once."""
        self._held[number] = None
        self.came.ring()

    def take(self, wanted: tuple[Signal, ...]) -> Signal | None:
        """The one of `wanted` that came first, if one has. Raises Invalid for one that is not held."""
        for number in wanted:
            if self.action(number) != "hold":
                raise Invalid(f"{number.name} is not on hold: say so first (process.signal)")
        found = next((number for number in self._held if number in wanted), None)
        if found is not None:
            del self._held[found]
        return found


def signal_of(number: int) -> Signal:
    """The signal of that number. Raises Invalid (EINVAL) that lists them."""
    try:
        return Signal(number)
    except ValueError:
        raise Invalid(f"no signal {number}: there are {', '.join(f'{s.value} {s.name}' for s in Signal)}") from None
