"""The kernel family, continued: installed packages."""

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.packages import Package
from kernel.trap import Trap
from syscalls.calls import package as abi
from syscalls.rights import uncovered


def packages(machine: Machine, trap: Trap, args: abi.ListPackages) -> abi.Packages:
    if args.look:
        machine.package_use.keep()
        for name, (before, now) in machine.plugins.look().items():
            _take_back(machine, name, before, now)
    shown = tuple(_told(package) for package in machine.plugins.all())
    return abi.Packages(folder=str(machine.config.packages_folder.absolute()), packages=shown)


def _take_back(machine: Machine, name: str, before: Package, now: Package | None) -> None:
    """Programs of a package that is gone end; of one that holds less now they lose what it lost, but keep what they
    were given beside its grant."""
    for process in machine.processes:
        if process.package != name or process.kind != "program":
            continue
        if now is None:
            machine.executor.end(process, "terminated")
            continue
        table = machine.processes.capabilities
        for capability in table.owned(process):
            lost = uncovered((capability.right,), now.rights) and not uncovered((capability.right,), before.rights)
            if capability.alive and lost:
                table.revoke(capability, f"it was taken from package {name}")


def _told(package: Package) -> abi.PackageInfo:
    manifest = package.record.manifest
    return abi.PackageInfo(
        name=package.name,
        version=manifest.version,
        programs=package.programs,
        tools=tuple(sorted(manifest.tools)),
        rights=package.record.granted,
        key=package.record.key,
    )


HANDLERS: dict[int, Handler] = {abi.PACKAGES.number: packages}
