"""A package's own environment: its modules and those of its locked dependencies, in one folder and nothing else's.

The installer resolves nothing: the manifest names the very wheels by their hashes, as the author found them. pip only
fetches them (wheels alone, no dependencies of theirs, hashes checked), which executes nothing; they are then checked
and unpacked by the same reader as the package. The operator's own settings of pip (index, proxy) hold.
"""

import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, final

from msgspec import Struct

from syscalls.errors import Invalid, IOFailed, NotFound, TimedOut
from syscalls.package import Locked, normal_name
from userland.pkg.shadows import PROVIDED
from userland.pkg.wheel import UNPACKED_BYTES_MAX, Wheel, read_wheel, unpack

FETCH_S_MAX: Final = 600.0


@final
class Source(Struct, frozen=True):
    """Where dependencies are fetched from besides the operator's index: `links` are folders or pages of wheels;
    `index` false leaves the index alone."""

    links: tuple[str, ...] = ()
    index: bool = True

    def options(self) -> list[str]:
        """As pip's options."""
        words = [word for link in self.links for word in ("--find-links", link)]
        return words if self.index else [*words, "--no-index"]


def lay_out(wheel: Wheel, site: Path, *, source: Source, aside: Path) -> None:
    """Writes the modules of a package and of what it depends on below `site`. Raises Invalid (EINVAL) with the
    dependency that cannot be had, or is no wheel as it should be."""
    assert wheel.manifest is not None
    site.mkdir(mode=0o755)
    unpack(wheel, site)
    total = wheel.unpacked_bytes
    if not wheel.manifest.lock:
        return
    folder = aside / "wheels"
    folder.mkdir()
    fetch(wheel.manifest.lock, folder, source)
    wanted = {(each.name, each.version): each for each in wheel.manifest.lock}
    for path in sorted(folder.glob("*.whl")):
        dependency = read_wheel(path, called=path.name)
        locked = wanted.pop((dependency.name, dependency.version), None)
        if locked is None or dependency.sha256 not in locked.sha256:
            raise Invalid(f"{path.name} is not what {wheel.name} was locked to")
        total += dependency.unpacked_bytes
        if total > UNPACKED_BYTES_MAX:
            raise Invalid(f"{wheel.name} and its dependencies unpack to more than {UNPACKED_BYTES_MAX >> 20} MiB")
        unpack(dependency, site)
    if wanted:
        missing = ", ".join(f"{name} {version}" for name, version in wanted)
        raise Invalid(f"{wheel.name} depends on {missing}, of which no wheel was found")


def check_machine(wheel: Wheel) -> None:
    """Raises Invalid for a wheel of another Python, or of another machine."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.tags import parse_tag, sys_tags

    have = platform.python_version()
    try:
        fits = SpecifierSet(wheel.python).contains(have, prereleases=True)
    except InvalidSpecifier as bad:
        raise Invalid(f"{wheel.name} {wheel.version}: {bad}") from None
    if not fits:
        raise Invalid(f"{wheel.name} {wheel.version} needs Python {wheel.python}, and this kernos runs on {have}")
    ours = set(sys_tags())
    if not any(ours & parse_tag(tag) for tag in wheel.tags if tag.count("-") == 2):
        tags = ", ".join(wheel.tags)[:200]
        raise Invalid(f"{wheel.name} {wheel.version} is built for {tags!r}, and not for this machine")


def check_locked(wheel: Wheel) -> None:
    """Raises Invalid for a wheel that depends on what its manifest has no lock for: nothing is resolved here."""
    assert wheel.manifest is not None
    locked = {each.name for each in wheel.manifest.lock}
    for requirement in wheel.requires:
        name = requirement_name(requirement)
        if "extra ==" in requirement or name in PROVIDED:
            continue
        if "@" in requirement.partition(";")[0]:
            raise Invalid(f"{wheel.name} depends on {requirement}: packages come from an index, not from an address")
        if name not in locked and not _elsewhere(requirement):
            raise Invalid(
                f"{wheel.name} depends on {requirement}, and its manifest locks no wheel of it: "
                "'kernos pkg build --lock' does"
            )


def fetch(lock: tuple[Locked, ...], folder: Path, source: Source) -> None:
    """Fetches the locked wheels into `folder`. Raises Invalid with what pip said."""
    wanted = folder / "lock.txt"
    lines = (f"{e.name}=={e.version} {' '.join(f'--hash=sha256:{h}' for h in e.sha256)}\n" for e in lock)
    wanted.write_text("".join(lines))
    run_pip(
        "download", "--only-binary", ":all:", "--no-deps", "--require-hashes", "--requirement", str(wanted),
        "--dest", str(folder), *source.options(),
    )  # fmt: skip


def run_pip(*words: str, quiet: bool = True, what: str = "dependency") -> str:
    """Runs pip, for a `what`; what it printed. Raises Invalid with the reason in its own words, shortened."""
    command = [*_pip(), "--disable-pip-version-check", "--no-input", *(("--quiet",) if quiet else ()), *words]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimedOut(f"pip had not fetched it in {FETCH_S_MAX:g} s") from None
    except OSError as failed:
        raise IOFailed(f"pip cannot be run: {failed}") from None
    if done.returncode == 0:
        return done.stdout
    raise Invalid(_reason(done.stderr, what))


def _pip() -> list[str]:
    """pip of this environment; where it has none, one that uv runs. Raises NotFound where there is neither."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]
    uv = shutil.which("uv")
    if uv is None:
        raise NotFound("dependencies are fetched by pip, and this environment has neither pip nor uv: install one")
    return [uv, "tool", "run", "--quiet", "--python", sys.executable, "pip"]


def requirement_name(requirement: str) -> str:
    """The project that a requirement is about."""
    end = next((at for at, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return normal_name(requirement[:end])


def _elsewhere(requirement: str) -> bool:
    """Whether its marker says that it is not for this machine."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        marker = Requirement(requirement).marker
    except InvalidRequirement as bad:
        raise Invalid(f"{requirement!r} is no requirement: {bad}") from None
    return marker is not None and not marker.evaluate({"extra": ""})


def _reason(stderr: str, kind: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    found = next((line for line in lines if "No matching distribution" in line), "")
    if found:
        what = found.rpartition(" for ")[2].split(" ")[0]
        return f"of the {kind} {what} there is no wheel for this machine; what is only there as source is not built"
    return f"pip cannot fetch it: {' '.join(lines)[:400] or stderr.strip()[-400:]}"
