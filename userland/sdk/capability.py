"""What a program may do, as handles: listed, made narrower, given away, taken back, asked for."""

from typing import final

from syscalls.calls import capability as abi
from syscalls.calls.capability import CapabilityInfo
from userland.sdk.door import Door


@final
class Handle:
    """A capability. `right` is what it allows, `pid` who holds it; limits are in `info`, as they were when it was
    made or listed."""

    def __init__(self, door: Door, info: CapabilityInfo) -> None:
        self._door = door
        self.info = info
        self.id = info.capability
        self.pid = info.pid
        self.right = info.right

    async def attenuate(
        self, right: str | None = None, *, life_s: float | None = None, uses: int | None = None
    ) -> "Handle":
        """A narrower handle of one's own, made from this one. Raises PermissionDenied (EPERM) if it were wider."""
        args = abi.Attenuate(capability=self.id, right=right, life_s=life_s, uses=uses)
        return Handle(self._door, await self._door.call(abi.ATTENUATE, args))

    async def grant(
        self, pid: int, right: str | None = None, *, life_s: float | None = None, uses: int | None = None, why: str = ""
    ) -> "Handle":
        """Gives process `pid` one made from this one; what this returns takes it back with `revoke`."""
        args = abi.Grant(pid=pid, capability=self.id, right=right, life_s=life_s, uses=uses, why=why)
        return Handle(self._door, await self._door.call(abi.GRANT, args))

    async def revoke(self, why: str = "") -> int:
        """Takes it, and all that was made from it, calls under way included; how many fell."""
        revoked: abi.Revoked = await self._door.call(abi.REVOKE, abi.Revoke(capability=self.id, why=why))
        return revoked.capabilities


@final
class Rights:
    """The capabilities of this process: `sys.rights`."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def list(self) -> tuple[Handle, ...]:
        """What this process may do."""
        held: abi.Held = await self._door.call(abi.LIST, abi.ListOwn())
        return tuple(Handle(self._door, info) for info in held.capabilities)

    async def of(self, pid: int) -> tuple[Handle, ...]:
        """What another process may do; needs `capabilities` on it."""
        held: abi.Held = await self._door.call(abi.HELD, abi.HeldBy(pid=pid))
        return tuple(Handle(self._door, info) for info in held.capabilities)

    async def attenuate(self, right: str, *, life_s: float | None = None, uses: int | None = None) -> Handle:
        """A handle for `right`, made from whichever of one's own covers it."""
        args = abi.Attenuate(right=right, life_s=life_s, uses=uses)
        return Handle(self._door, await self._door.call(abi.ATTENUATE, args))

    async def grant(
        self, pid: int, right: str, *, life_s: float | None = None, uses: int | None = None, why: str = ""
    ) -> Handle:
        """Gives process `pid` the right, made from whichever of one's own covers it; needs `grant` on it."""
        args = abi.Grant(pid=pid, right=right, life_s=life_s, uses=uses, why=why)
        return Handle(self._door, await self._door.call(abi.GRANT, args))

    async def request(self, right: str, reason: str = "", *, timeout_s: float | None = None) -> Handle:
        """Asks whoever may decide, and waits. Raises PermissionDenied (EPERM) for a no, silence included."""
        args = abi.Request(right=right, reason=reason, timeout_s=timeout_s)
        return Handle(self._door, await self._door.call(abi.REQUEST, args))
