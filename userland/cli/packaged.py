"""What a program of an installed package is run with: the rights that the package was granted."""

from syscalls.calls.package import PACKAGES, ListPackages, Packages
from syscalls.errors import PermissionDenied
from syscalls.link.blocking import BlockingLink
from userland.programs.manifest import RIGHTS


def granted(link: BlockingLink, program: str) -> tuple[str, ...] | None:
    """The rights of the package that `program` (`PACKAGE` or `PACKAGE:PROGRAM`) is of; None for another program, and
    where nobody may know: the kernel knows them all the same."""
    if program in RIGHTS or program.startswith("/"):
        return None
    name = program.partition(":")[0]
    try:
        listed: Packages = link.call(PACKAGES, ListPackages())
        if name not in (package.name for package in listed.packages):
            listed = link.call(PACKAGES, ListPackages(look=True))
    except PermissionDenied:
        return None
    return next((package.rights for package in listed.packages if package.name == name), None)
