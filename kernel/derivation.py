"""The table of all capabilities: from which each was derived, and what falls when one is revoked. Free of IO.

Capabilities form a tree, as in seL4: a capability is only ever made from another, never wider, and revoking one takes
all that was made from it. One that is given to a process is bound to a capability of that process's parent too, so that
a child never holds what its parent lost.

Thousands of processes hold the same few rights, so holding is sharing: a child that is handed its parent's rights as
they are holds the very records of its parent, and has a record of its own only once somebody needs to tell the two
apart (`own`). Links downwards are weak: a record lives as long as somebody holds it, or something that was made from
it; the end of a process leaves nothing to clean up.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Final, final
from weakref import WeakValueDictionary

from kernel.capability import Admitted, Capability, Held, Holder, lacking
from kernel.panic import KernelPanic
from syscalls.errors import Invalid, PermissionDenied, TryAgain
from syscalls.rights import Right

HELD_MAX: Final = 256
"""Of one process. What two processes hold is compared each with each, in the kernel's time."""
LOOSE_MAX: Final = 64
"""Of those with a wildcard in their midst: a call may have to be matched with each, and its name may be long."""
DEPTH_MAX: Final = 128
"""From the operator's own down: each step is narrower than the one above it."""
_TOO_DEEP = f"capabilities are derived {DEPTH_MAX} deep: let a process further up give this one"
_GRAIN_S = 1e-6
"""Whoever sleeps until a deadline may wake so much before it, by rounding."""
LIFE_S_MAX: Final = 10 * 365 * 86400.0
USES_MAX: Final = 1 << 40

Tell = Callable[[str, Capability, str], None]
"""Told of each `grant`, `revoke` and `expire`, with the capability and why."""


@final
class Capabilities:
    """All capabilities of a kernel. `now` is the clock's; `changes` counts what ended, `grants` what was granted;
    `sooner` is called when `next_deadline_s` has come nearer."""

    def __init__(self, now: Callable[[], float], tell: Tell = lambda event, capability, why: None) -> None:
        self._now = now
        self._tell = tell
        self._next = 1
        self._table: WeakValueDictionary[int, Capability] = WeakValueDictionary()
        self._deadlines: list[tuple[float, int]] = []
        self.changes = 0
        self.grants = 0
        self.none = Held(self, ())
        self.sooner: Callable[[], None] = lambda: None
        self.changed: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._table)

    # Starting.

    def origin(self, pid: int, rights: tuple[Right, ...]) -> Held:
        """What the first process holds: derived from nothing."""
        return Held(self, tuple(self._make(right, holder=pid, parent=None) for right in rights))

    def inherit(self, parent: Holder, pid: int, rights: tuple[Right, ...]) -> Held:
        """What a new child of `parent` holds: the parent's own set where it is handed on as it is.

        Raises PermissionDenied (EPERM) for a right that no single one of the parent's covers, Invalid (EINVAL) for
        too many."""
        if rights is parent.held.rights:
            return parent.held
        if len(rights) > HELD_MAX:
            raise Invalid(f"{len(rights)} rights: a process holds {HELD_MAX} at most; use wildcards")
        loose = sum(right.loose for right in rights)
        if loose > LOOSE_MAX:
            raise Invalid(f"{loose} rights with a wildcard in their midst: a process holds {LOOSE_MAX} of them at most")
        narrower: dict[Right, Capability] = {}
        for right in rights:
            above = parent.held.covering(right)
            if above is None:
                raise lacking(parent, right, f"a child cannot have '{right}', which process {parent.pid}")
            if above.right != right and right not in narrower:
                narrower[right] = self._make(right, holder=pid, parent=self.own(parent, above))
        same = {each.right: each for each in parent.held}
        taken = tuple(narrower.get(right) or same[right] for right in dict.fromkeys(rights))
        return Held(self, taken) if taken else self.none

    # Deriving.

    def derive(
        self,
        giver: Holder,
        source: Capability,
        to: Holder,
        right: Right | None = None,
        *,
        life_s: float | None = None,
        uses: int | None = None,
        why: str = "",
    ) -> Capability:
        """A capability for `to`, made from `source`, which `giver` holds; never wider and never longer.

        Raises PermissionDenied (EPERM) where it would be wider, or where the parent of `to` lacks it; Invalid for
        limits that are none; TryAgain (EAGAIN) where `to` holds too many."""
        right = right or source.right
        expires_s = self._checked(source, right, life_s, uses)
        if sum(1 for _ in to.held) >= HELD_MAX:
            raise TryAgain(f"process {to.pid} holds {HELD_MAX} capabilities: revoke some, or give a wider one")
        if right.loose and sum(each.right.loose for each in to.held) >= LOOSE_MAX:
            raise TryAgain(
                f"process {to.pid} holds {LOOSE_MAX} capabilities with a wildcard in their midst: revoke some"
            )
        source = self.own(giver, source)
        bound = None if to is giver else self._bound(to, source, right)
        if bound is not None and bound.descends_from(source):
            source, bound = bound, None
        made = self._make(right, holder=to.pid, parent=source, bound=bound, expires_s=expires_s, uses=uses)
        to.held = Held(self, (*to.held, made))
        self.grants += 1
        self.changed()
        self._tell("grant", made, why)
        return made

    def lend(self, giver: Holder, source: Capability, pid: int, why: str) -> Capability:
        """A capability for one call that process `pid` serves; in nobody's set. `revoke` takes it back."""
        self._checked(source, source.right, None, None)
        lent = self._make(source.right, holder=pid, parent=self.own(giver, source), lent=True)
        self._tell("lend", lent, why)
        return lent

    def own(self, holder: Holder, capability: Capability) -> Capability:
        """A record of the holder's own for one that it shares with its parent: it, and whoever shares it with the
        holder, hold the new one from now on."""
        if capability.holder == holder.pid:
            return capability
        assert capability in holder.held, f"process {holder.pid} does not hold capability {capability.id}"
        return self._own_all(holder, (capability,))[capability]

    def owned(self, holder: Holder) -> tuple[Capability, ...]:
        """All that it holds, each a record of its own."""
        self._own_all(holder, [each for each in holder.held if each.holder != holder.pid])
        return tuple(holder.held)

    def _own_all(self, holder: Holder, shared: Sequence[Capability]) -> dict[Capability, Capability]:
        """As `own`, of many at once: the new record of each. Those above that share them get theirs first."""
        sharing = [(holder, shared)]
        depths = {each: each.depth + 1 for each in shared}
        while (above := sharing[-1][0].parent) is not None and max(depths.values(), default=0) <= DEPTH_MAX:
            theirs = [each for each in above.held.among(set(sharing[-1][1])) if each.holder != above.pid]
            if not theirs:
                break
            sharing.append((above, theirs))
            for each in theirs:
                depths[each] += 1
        if max(depths.values(), default=0) > DEPTH_MAX:
            raise TryAgain(_TOO_DEEP)
        newest = {each: each for each in shared}
        for who, those in reversed(sharing):
            made = self._own(who, [newest[each] for each in those])
            newest.update({each: made[newest[each]] for each in those})
        return newest

    def _own(self, holder: Holder, capabilities: Sequence[Capability]) -> dict[Capability, Capability]:
        """As `_own_all`, where the holder's parent has records of its own. One walk for all of them: thousands of
        processes below may share them, each in a set of its own."""
        mine = {each: self._make(each.right, holder=holder.pid, parent=each) for each in capabilities}
        moved: dict[Capability, set[int]] = {each: set() for each in capabilities if each.calls}
        sets: dict[int, tuple[Held, Held]] = {}
        todo = [holder]
        while todo:
            who = todo.pop()
            before = who.held
            here = before.among(mine.keys())
            if not here:
                continue
            if id(before) not in sets:
                sets[id(before)] = before, before.exchanged(mine)
            who.held = sets[id(before)][1]
            for each in here if moved else ():
                if each in moved:
                    moved[each].add(who.pid)
            todo.extend(who.children.values())
        for each, pids in moved.items():
            _move_calls(each, mine[each], pids)
        return mine

    def mine(self, holder: Holder, number: int, right: Right | None) -> Capability:
        """The capability `number` of the holder's own, or with 0 whichever of its covers `right`.

        Raises PermissionDenied (EPERM) for a number that is not its own, and where none covers the right."""
        self.expire()
        if number:
            found = self._table.get(number)
            if found is None or found.holder != holder.pid or not found.usable or found not in holder.held:
                raise PermissionDenied(
                    f"capability {number} is none that process {holder.pid} holds: capability.list shows its own"
                )
            return found
        if right is None:
            raise Invalid("say which: the number of a capability, or a right")
        source = holder.held.covering(right)
        if source is None:
            raise lacking(holder, right, f"process {holder.pid} cannot give '{right}': it")
        return source

    # Ending.

    def revoke(self, capability: Capability, why: str) -> int:
        """Takes it and all that was made from it; calls that any of them let in are withdrawn. Returns how many."""
        self._tell("revoke", capability, why)
        return self._fell(capability, f"the right '{capability.text}' was revoked: {why}")

    def expire(self) -> None:
        """Ends those whose time is over; cheap when there are none."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= self._now() + _GRAIN_S:
            _, number = heapq.heappop(deadlines)
            capability = self._table.get(number)
            if capability is not None and capability.alive:
                self._tell("expire", capability, "its time is over")
                self._fell(capability, f"the right '{capability.text}' has expired")

    @property
    def next_deadline_s(self) -> float:
        """When `expire` has something to do, in the time of `now`; infinite if never."""
        return self._deadlines[0][0] if self._deadlines else math.inf

    def use(self, capability: Capability) -> None:
        """Counts one use of what was found usable."""
        for each in capability.limited:
            assert each.uses_left, "only what is usable is found"
            each.uses_left -= 1
            if each.uses_left == 0:
                self.changes += 1
                self.changed()

    def follow(self, admitted: tuple[Capability, ...], call: Admitted) -> None:
        """The call that these let in falls with any of them, until `leave`."""
        call.admitted = admitted
        for each in admitted:
            if each.calls is None:
                each.calls = set()
            each.calls.add(call)

    def leave(self, call: Admitted) -> None:
        """The call has ended."""
        for each in call.admitted:
            if each.calls is not None:
                each.calls.discard(call)

    def get(self, number: int) -> Capability | None:
        """The living capability of that number."""
        found = self._table.get(number)
        return found if found is not None and found.alive else None

    def below(self, holder: Holder, number: int) -> bool:
        """Whether capability `number` is the holder's own, or was made from one of its own."""
        found = self.get(number)
        if found is None:
            return False
        return any(each.holder == holder.pid and found.descends_from(each) for each in holder.held)

    def check(self, holder: Holder) -> None:
        """Raises KernelPanic unless all that the holder has is its parent's too, and falls with it."""
        for each in holder.held:
            for above in (each.parent, each.bound):
                if above is not None and not (above.alive and above.right.covers(each.right)):
                    raise KernelPanic(f"capability {each.id} '{each.text}' is not within {above.id} '{above.text}'")
            parent = holder.parent
            if parent is not None and not any(each.descends_from(theirs) for theirs in parent.held):
                raise KernelPanic(f"process {holder.pid} holds {each.id} '{each.text}' from nothing of its parent's")

    def _fell(self, top: Capability, why: str) -> int:
        fallen = 0
        todo = [top]
        while todo:
            each = todo.pop()
            if not each.alive:
                continue
            each.alive = False
            fallen += 1
            todo.extend(each.children or ())
            for call in tuple(each.calls or ()):
                call.withdraw(each, why)
        self.changes += 1
        self.changed()
        return fallen

    def _checked(self, source: Capability, right: Right, life_s: float | None, uses: int | None) -> float:
        """When it expires. Raises as `derive` does."""
        if not source.right.covers(right):
            raise PermissionDenied(f"'{right}' is more than capability {source.id} '{source.text}' allows")
        if life_s is not None and not 0 < life_s <= LIFE_S_MAX:
            raise Invalid(f"a life of {life_s} s: give more than 0 and at most {LIFE_S_MAX:.0f}, or none for no end")
        if uses is not None and not 0 < uses <= USES_MAX:
            raise Invalid(f"{uses} uses: give 1 or more, or none for no limit")
        return math.inf if life_s is None else self._now() + life_s

    def _bound(self, to: Holder, source: Capability, right: Right) -> Capability | None:
        """The capability of the receiver's parent that the new one needs; None where `source` needs one already."""
        parent = to.parent
        if parent is None:
            return None
        if any(each.holder == parent.pid and source.descends_from(each) for each in parent.held):
            return None
        theirs = parent.held.covering(right)
        if theirs is None:
            raise lacking(
                parent, right, f"process {to.pid} cannot have '{right}': a child holds no more than its parent, and it"
            )
        return self.own(parent, theirs)

    def _make(
        self,
        right: Right,
        *,
        holder: int,
        parent: Capability | None,
        bound: Capability | None = None,
        expires_s: float = math.inf,
        uses: int | None = None,
        lent: bool = False,
    ) -> Capability:
        made = Capability(
            self._next, right, holder=holder, parent=parent, bound=bound, expires_s=expires_s, uses=uses, lent=lent
        )
        if made.depth > DEPTH_MAX:
            raise TryAgain(_TOO_DEEP)
        self._next += 1
        self._table[made.id] = made
        if expires_s != math.inf:
            if len(self._deadlines) > 2 * len(self._table) + HELD_MAX:
                self._deadlines = [each for each in self._deadlines if self.get(each[1]) is not None]
                heapq.heapify(self._deadlines)
            heapq.heappush(self._deadlines, (made.expires_s, made.id))
            if self._deadlines[0][1] == made.id:
                self.sooner()
        return made


def _move_calls(old: Capability, new: Capability, pids: set[int]) -> None:
    """Calls of those processes that `old` let in are from now on let in by `new`."""
    moving = [call for call in old.calls or () if call.holder.pid in pids]
    if moving:
        new.calls = set(moving)
        for call in moving:
            assert old.calls is not None
            old.calls.discard(call)
            call.admitted = tuple(new if each is old else each for each in call.admitted)
