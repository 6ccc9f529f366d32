"""The build backend of packages: `build-backend = "kernos.build"` in a pyproject.toml (PEP 517 and 660)."""

from typing import Any

from userland.pkg.build import build_editable, build_sdist, build_wheel, requires

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What has to be there besides kernos."""
    return requires("wheel", config_settings)


def get_requires_for_build_sdist(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What has to be there besides kernos."""
    return requires("sdist", config_settings)


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What has to be there besides kernos."""
    return requires("editable", config_settings)
