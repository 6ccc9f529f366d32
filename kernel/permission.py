"""Which right a call needs: the names that its resource goes by for this caller, and the check in the gate."""

from typing import Any, Protocol, final

from kernel.capability import Capability, how_to_grant
from kernel.panic import KernelPanic
from kernel.process import Process
from kernel.process_table import ProcessTable
from syscalls.errors import PermissionDenied
from syscalls.rights import Right
from syscalls.row import Needs, Row

OPERATOR = (Right("**"),)
"""What the operator holds: every action on everything."""
OWN = "capability:own"
"""A name of what the caller holds itself, or made from what it holds: whoever has a handle needs no right to it."""


@final
class Lacking(PermissionDenied):
    """EPERM for want of `right`, which may be asked for."""

    def __init__(self, message: str, right: Right) -> None:
        super().__init__(message)
        self.right = right


class ContextNames(Protocol):
    """Knows the names a context goes by for a process, and the model that it is with."""

    def names(self, context: int, process: Process) -> tuple[str, ...]: ...
    def model(self, context: int) -> str: ...


class ModelNames(Protocol):
    """Knows the names a model goes by; None is the default model of the machine, `embedder` the one that embeds."""

    @property
    def embedder(self) -> str: ...
    def names(self, model: str | None) -> tuple[str, ...]: ...


@final
class Permission:
    """The only place where a right is checked."""

    def __init__(self, *, processes: ProcessTable, contexts: ContextNames, models: ModelNames) -> None:
        self._processes = processes
        self._capabilities = processes.capabilities
        self._contexts = contexts
        self._models = models

    def check(self, process: Process, row: Row, args: Any, channel: int = 0) -> tuple[Capability, ...]:
        """The capabilities that let the call in, one use of each counted; none where none is needed. What was lent for
        the call that `channel` serves counts too.

        Raises PermissionDenied (EPERM) that says which right is missing and how to grant it; NotFound or
        NoSuchProcess where there is no such thing."""
        if row.needs is None:
            return ()
        found = self._find(process, row, row.needs, args, channel)
        if row.also is not None:
            found += self._find(process, row, row.also, args, channel)
        for each in found:
            if each.limited:
                self._capabilities.use(each)
        return found

    def _find(self, process: Process, row: Row, needs: Needs, args: Any, channel: int) -> tuple[Capability, ...]:
        names = self._names(process, row, needs, args)
        found = process.held.find(needs.action, names)
        if found is not None:
            return (found,)
        if OWN in names:
            return ()
        for each in process.lent.get(channel, ()):
            if each.usable and any(each.right.allows(needs.action, name) for name in names):
                return (each,)
        missing = Right(names[0], (needs.action,))
        raise Lacking(
            f"process {process.pid} ({process.name}) lacks the right '{missing}' for {row.name}: "
            f"{how_to_grant(process.pid, missing)}",
            missing,
        )

    def _names(self, process: Process, row: Row, needs: Needs, args: Any) -> tuple[str, ...]:
        resource = needs.resource
        kind, _, rest = resource.partition(":")
        match kind:
            case "process" if rest == "{pid}":
                return self._process_names(process, args.pid)
            case "context":
                return self._contexts.names(args.context, process) if args.context else ("context:own",)
            case "model" if rest == "{model}":
                default = self._models.embedder if needs.action == "embed" else process.model
                return self._models.names(args.model or default)
            case "model" if rest == "{context}":
                return self._models.names(self._contexts.model(args.context))
            case "capability":
                return self._capability_names(process, args.capability)
            case "program" | "tool" | "topic":
                return (resource.format_map(_Fields(args)),)
            case _ if "{" not in rest:
                return (resource,)
        raise KernelPanic(f"{row.name} names a resource that nobody resolves: {resource}")

    def _process_names(self, process: Process, pid: int) -> tuple[str, ...]:
        if pid == 0:
            return ("process:children",)
        target = self._processes.lately(pid)
        names = [f"process:{pid}"]
        if target is process:
            names.append("process:self")
        if target is process.parent:
            names.append("process:parent")
        if self._processes.is_descendant(target, process):
            names.append("process:children")
        return tuple(names)

    def _capability_names(self, process: Process, number: int) -> tuple[str, ...]:
        theirs = self._capabilities.below(process, number)
        return (f"capability:{number}", OWN) if theirs else (f"capability:{number}",)


class _Fields(dict[str, Any]):
    """Reads `{field}` from a struct of arguments."""

    def __init__(self, args: Any) -> None:
        super().__init__()
        self._args = args

    def __missing__(self, key: str) -> Any:
        return getattr(self._args, key)
