"""The kernel family, continued: installed packages."""

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.packages import Package
from kernel.trap import Trap
from syscalls.calls import package as abi


def packages(machine: Machine, trap: Trap, args: abi.ListPackages) -> abi.Packages:
    if args.look:
        machine.plugins.look()
    shown = tuple(_told(package) for package in machine.plugins.all())
    return abi.Packages(folder=str(machine.config.packages_folder.absolute()), packages=shown)


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
