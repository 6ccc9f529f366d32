"""What every device keeps to, whatever its kind."""

from drivers.conformance.checks import Check, check, expect
from drivers.conformance.rig import Rig
from syscalls import driver as abi
from syscalls.errors import Errno

UNKNOWN = 1 << 30


def checks_for(kind: abi.Kind) -> list[Check]:
    """The checks for a device of `kind`."""
    register: list[Check] = []

    @check(kind, register)
    async def hello(rig: Rig) -> None:
        """HELLO names the driver and the pid of its host."""
        hello = await rig.link.greeted()
        expect(hello.info.get("driver") == rig.subject.driver, f"HELLO says driver {hello.info.get('driver')!r}")
        expect(hello.info.get("pid") == str(rig.process.pid), f"HELLO says pid {hello.info.get('pid')!r}")

    @check(kind, register)
    async def opens_twice(rig: Rig) -> None:
        """A second device has a handle of its own and is described alike; closing it, twice too, leaves the first."""
        second = await rig.open()
        expect(second.device != rig.opened.device, "two devices have one handle")
        expect(second.checksum == rig.opened.checksum, "the same origin has two checksums")
        for _ in range(2):
            await rig.link.call(abi.CLOSE, abi.Device(device=second.device))
        third = await rig.open()
        expect(third.device not in {second.device, rig.opened.device}, "a handle was used again")
        await rig.link.call(abi.CLOSE, abi.Device(device=third.device))

    @check(kind, register)
    async def unknown_device(rig: Rig) -> None:
        """A handle that was never given is ENOENT."""
        refused = await rig.error_of(abi.EMBED, abi.Embed(device=UNKNOWN, texts=("x",)))
        expect(refused is not None and refused.errno is Errno.ENOENT, f"was answered with {refused!r}")

    @check(kind, register)
    async def undeclared_is_refused(rig: Rig) -> None:
        """What the device does not declare is ENOSYS."""
        at = rig.opened.device
        calls = {
            "embed": (abi.EMBED, abi.Embed(device=at, texts=("x",))),
            "render": (abi.RENDER, abi.Render(device=at, turns=())),
            "tokenize": (abi.TOKENIZE, abi.Tokenize(device=at, text="x")),
            "score": (abi.SCORE, abi.Score(device=at, prompt=(1,), continuations=((1,),))),
            "query": (abi.QUERY, abi.StoreQuery(device=at, collection="c", vector=b"\0\0\x80?", k=1)),
        }
        if kind == "model":
            del calls["render"]
        for ability, (row, args) in calls.items():
            if ability not in rig.opened.can:
                refused = await rig.error_of(row, args)
                expect(refused is not None and refused.errno is Errno.ENOSYS, f"{ability}: answered with {refused!r}")

    @check(kind, register)
    async def unknown_option(rig: Rig) -> None:
        """An option that the driver does not know is EINVAL, and says which."""
        options = {**rig.subject.options, "no_such_option": "1"}
        args = abi.Open(kind=rig.subject.kind, origin=rig.subject.origin, options=options)
        refused = await rig.error_of(abi.OPEN, args)
        expect(refused is not None and refused.errno is Errno.EINVAL, f"was answered with {refused!r}")
        expect("no_such_option" in str(refused), f"does not name the option: {refused}")

    return register
