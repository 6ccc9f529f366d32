"""What trusted extensions bring to the kernel: policies and sources of models, each under watch, by name."""

from collections.abc import Iterable
from typing import Any, TypeVar, final

from kernel.config import Config
from kernel.mm.eviction import OLDEST
from kernel.packages import Packages
from kernel.policy import POLICIES
from kernel.watchdog import Nonsense, Watch, Watched
from syscalls.errors import Invalid, SyscallError
from syscalls.extensions import Loaded, Trusted, installed, load, named, of_package
from syscalls.hooks import EvictionPolicy, ModelSource, SchedulingPolicy, Source

CONFIG = "'trust' in kernos.toml"
SCHEDULING, EVICTION, SOURCE = "scheduling policy", "eviction policy", "model source"
Kind = TypeVar("Kind")


@final
class Extensions:
    """Those that are loaded. Raises Invalid (EINVAL) or NotFound (ENOENT) where one that is trusted cannot be."""

    def __init__(self, loaded: Iterable[Loaded] = (), watch: Watch | None = None) -> None:
        self.loaded = tuple(loaded)
        self._watch = watch
        self._policies: dict[str, Watched[SchedulingPolicy]] = {}
        self._evictors: dict[str, Watched[EvictionPolicy]] = {}
        self._sources: dict[str, Watched[ModelSource]] = {}
        for each in self.loaded:
            self._take(each, "kernos_scheduling_policies", SCHEDULING, "name", self._policies, POLICIES)
            self._take(each, "kernos_eviction_policies", EVICTION, "name", self._evictors, (OLDEST,))
            self._take(each, "kernos_model_sources", SOURCE, "scheme", self._sources, ("http", "https", "sim"))

    def scheduling(self, name: str) -> str | Watched[SchedulingPolicy]:
        """The policy of a name, of the kernel's own the name itself. Raises Invalid listing what there is."""
        return name if name in POLICIES else self._named(SCHEDULING, name, self._policies, POLICIES)

    def eviction(self, name: str) -> str | Watched[EvictionPolicy]:
        """As `scheduling`."""
        return name if name == OLDEST else self._named(EVICTION, name, self._evictors, (OLDEST,))

    def source(self, origin: str) -> Source | None:
        """Where a model is to be had, None for an origin of no extension's scheme. Raises what the source says is wrong
        with it, or Invalid where the source is disabled."""
        watched = self._sources.get(origin.partition(":")[0]) if ":" in origin else None
        if watched is None:
            return None
        found = watched.ask(lambda source: _asked(source, origin), _source)
        if isinstance(found, Source):
            return found
        raise found or Invalid(f"the model source {watched.name!r} is disabled: {watched.disabled}")

    def disabled(self) -> dict[str, str]:
        """What the watchdog has disabled, and why."""
        every: list[Watched[Any]] = [*self._policies.values(), *self._evictors.values(), *self._sources.values()]
        return {f"{each.kind} {each.name}": each.disabled for each in every if each.disabled}

    def _take(
        self,
        loaded: Loaded,
        hook: str,
        kind: str,
        attribute: str,
        into: dict[str, Watched[Kind]],
        taken: Iterable[str],
    ) -> None:
        for found in loaded.call(hook):
            name = getattr(found, attribute, None)
            if not isinstance(name, str) or not name.isidentifier():
                raise Invalid(f"{loaded.extension}: a {kind} needs a {attribute} of letters, digits and '_'")
            if name in into or name in taken:
                raise Invalid(f"{loaded.extension}: there is a {kind} {name!r} already: give it another {attribute}")
            assert self._watch is not None, "what is loaded is watched"
            into[name] = Watched(kind, name, found, self._watch)

    def _named(self, kind: str, name: str, known: dict[str, Watched[Kind]], own: Iterable[str]) -> Watched[Kind]:
        if name in known:
            return known[name]
        trusted = {each.extension.name for each in self.loaded}
        others = sorted(f"{each.name} (of {each.package})" for each in installed().values() if each.name not in trusted)
        hint = f"; installed, but not trusted (see {CONFIG}): {', '.join(others)}" if others else ""
        raise Invalid(f"no {kind} {name!r}: there are {', '.join(sorted((*own, *known)))}{hint}")


def load_extensions(config: Config, packages: Packages, watch: Watch) -> Extensions:
    """Those that kernos.toml trusts, and those of packages that were installed with the word of trust. Raises NotFound,
    Invalid that say which and what to do."""
    trusted: list[Trusted] = [*named(config.trust, CONFIG)]
    for package in packages.all():
        trusted += of_package(package.record, package.site, "policies", "sources")
    return Extensions(load(trusted), watch)


def _asked(source: ModelSource, origin: str) -> Source | SyscallError:
    """A source that says what is wrong with an origin has answered."""
    try:
        return source.find(origin)
    except SyscallError as refused:
        return refused
    except ValueError as wrong:
        return Invalid(f"{origin}: {wrong}")


def _source(answer: Any) -> Source | SyscallError:
    if isinstance(answer, SyscallError):
        return answer
    texts = (answer.driver, answer.origin) if type(answer) is Source else ()
    if not texts or not all(type(each) is str and each for each in texts):
        raise Nonsense(f"a {type(answer).__name__}, not a Source with a driver and an origin")
    options = answer.options.items() if isinstance(answer.options, dict) else ((0, 0),)
    if not all(type(key) is str and type(value) is str for key, value in options):
        raise Nonsense("options that are not texts by name")
    return Source(answer.driver, answer.origin, dict(answer.options))
