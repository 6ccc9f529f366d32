"""What a Python of this environment needs in a jail: its path, and the binds that make it visible."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from sandbox.spec import Bind, plan_binds

_OWN_PACKAGES = ("syscalls", "userland", "kernos")


def guest_path() -> tuple[str, ...]:
    """sys.path for guests of the running interpreter: its library, its site-packages, our own packages."""
    folders = (str(_repository()), sysconfig.get_path("stdlib"), _extension_modules(), *_site_packages())
    return tuple(dict.fromkeys(folder for folder in folders if os.path.isdir(folder)))


def guest_binds(packages: tuple[str, ...] = _OWN_PACKAGES) -> tuple[Bind, ...]:
    """Read-only binds for `guest_path()`; of our own repository only `packages`, never the whole.

    A package that is not there is left out.
    """
    repository = _repository()
    own = (str(repository / package) for package in packages)
    folders = (sysconfig.get_path("stdlib"), _extension_modules(), *_site_packages(), *own)
    return plan_binds(tuple(Bind(folder, folder) for folder in folders if os.path.isdir(folder)))


def _extension_modules() -> str:
    return str(sysconfig.get_config_var("DESTSHARED"))  # lib-dynload, also from within a virtual environment


def _site_packages() -> tuple[str, ...]:
    return tuple(dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))))


def _repository() -> Path:
    return Path(__file__).resolve().parent.parent
