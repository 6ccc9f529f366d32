"""Which right a call needs: the names that its resource goes by for this caller, and the check in the gate."""

import re
from typing import Any, Protocol, final

from kernel.capability import Capability, how_to_grant
from kernel.panic import KernelPanic
from kernel.process import Process
from kernel.process_table import ProcessTable
from syscalls.errors import Invalid, NoSuchProcess, PermissionDenied
from syscalls.mounts import file_names
from syscalls.rights import NAME_CHARS_MAX, Right
from syscalls.row import Needs, Row
from syscalls.weburl import parse_url

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
    """Knows the names a model goes by; None is the default model of the machine, `embedder` the one that embeds. Other
    devices go by their kind, and by `device:NAME`."""

    @property
    def embedder(self) -> str: ...
    def names(self, model: str | None) -> tuple[str, ...]: ...
    def device_names(self, device: str, method: str = "") -> tuple[str, ...]: ...


class AccountNames(Protocol):
    """Knows the names an account goes by for a process."""

    def names(self, process: Process, address: str | None) -> tuple[str, ...]: ...


@final
class Permission:
    """The only place where a right is checked."""

    def __init__(
        self, *, processes: ProcessTable, contexts: ContextNames, models: ModelNames, accounts: AccountNames
    ) -> None:
        self._processes = processes
        self._capabilities = processes.capabilities
        self._contexts = contexts
        self._models = models
        self._accounts = accounts

    def check(self, process: Process, row: Row, args: Any, channel: int = 0) -> tuple[Capability, ...]:
        """The capabilities that let the call in, one use of each counted; none where none is needed. What was lent for
        the call that `channel` serves counts too.

        Raises PermissionDenied (EPERM) that says which right is missing and how to grant it; NotFound or
        NoSuchProcess where there is no such thing."""
        if row.needs is None:
            return ()
        found: tuple[Capability, ...] = ()
        for needs in (row.needs, row.also) if row.also is not None else (row.needs,):
            action = needs.action
            if action.startswith("{"):
                action = action.format_map(_Fields(args)).lower()
            found += self.require(process, row, action, self._names(process, needs, args), channel)
        return found

    def require(
        self, process: Process, row: Row, action: str, names: tuple[str, ...], channel: int = 0
    ) -> tuple[Capability, ...]:
        """As `check`, of one action on a resource by its names: also for what only shows while a call runs.

        Raises Invalid (EINVAL) for a name that is too long to be one."""
        if len(names[0]) > NAME_CHARS_MAX:
            raise Invalid(f"{row.name}: a name of {len(names[0])} characters: the longest has {NAME_CHARS_MAX}")
        found = process.held.find(action, names) or _lent(process.lent.get(channel, ()), action, names)
        if found is not None:
            if found.limited:
                self._capabilities.use(found)
            return (found,)
        if OWN in names:
            return ()
        raise self.lacking(process, row, Right(_writable(names[0]), (action,)))

    def lacking(self, process: Process, row: Row, missing: Right) -> Lacking:
        """The refusal for want of `missing`, with how to grant it."""
        return Lacking(
            f"process {process.pid} ({process.name}) lacks the right '{missing}' for {row.name}: "
            f"{how_to_grant(process, missing)}",
            missing,
        )

    def _names(self, process: Process, needs: Needs, args: Any) -> tuple[str, ...]:
        resource = needs.resource
        kind, _, rest = resource.partition(":")
        match kind:
            case "process" if rest == "{pid}":
                return self._process_names(process, args.pid)
            case "context" if rest == "{context}":
                return self._contexts.names(args.context, process) if args.context else ("context:own",)
            case "model" if rest == "{model}":
                default = self._models.embedder if needs.action == "embed" else process.model
                return self._models.names(args.model or default)
            case "model" if rest == "{context}":
                return self._models.names(self._contexts.model(args.context))
            case "capability":
                return self._capability_names(process, args.capability)
            case "net":
                return parse_url(args.url).names
            case "account":
                return self._accounts.names(process, args.source if rest == "{source}" else args.account)
            case "file":
                return _file_names(process, args)
            case "tool":
                return self._models.device_names(args.device, args.method)
            case "device" if rest == "{device}":
                return self._models.device_names(args.device)
            case "program" | "command" | "topic" | "context" | "parser" if "{" in rest:
                return (resource.format_map(_Fields(args)),)
            case _ if "{" not in rest:
                return (resource,)
        raise KernelPanic(f"a row names a resource that nobody resolves: {resource}")

    def _group_names(self, process: Process, group: int) -> tuple[str, ...]:
        """What every process of a group goes by: who may signal its own children may signal a group of them."""
        members = self._processes.in_group(group)
        if not members:
            raise NoSuchProcess(f"no process is in group {group}; 'kernos ps' lists them")
        common = set.intersection(*(set(self._process_names(process, member.pid)) for member in members))
        return (f"process:-{group}", *sorted(common))

    def _process_names(self, process: Process, pid: int) -> tuple[str, ...]:
        if pid == 0:
            return ("process:children",)
        if pid < 0:
            return self._group_names(process, -pid)
        target = self._processes.lately(pid)
        if target is process:
            return (f"process:{pid}", "process:self")
        names = [f"process:{pid}"]
        if target is process.parent:
            names.append("process:parent")
        if self._processes.is_descendant(target, process):
            names.append("process:children")
        return tuple(names)

    def _capability_names(self, process: Process, number: int) -> tuple[str, ...]:
        theirs = self._capabilities.below(process, number)
        return (f"capability:{number}", OWN) if theirs else (f"capability:{number}",)


def _lent(lent: tuple[Capability, ...], action: str, names: tuple[str, ...]) -> Capability | None:
    """Of what was lent, the capability that allows it."""
    fit = (each for each in lent if each.usable and any(each.right.allows(action, name) for name in names))
    return next(fit, None)


def _file_names(process: Process, args: Any) -> tuple[str, ...]:
    """Those of the path that is named, or of the one that an open file was opened by."""
    number = getattr(args, "file", None)
    if (number is None) == (args.path is None):
        raise Invalid("name the file by its path or by an open file's handle: one of them")
    if number is None:
        return file_names(args.path)
    if number not in process.files:
        raise NoSuchProcess(f"process {process.pid} has no open file {number}")
    return file_names(process.files[number].spot.path)


def _writable(name: str) -> str:
    """A resource as it can be written in a right: what cannot stand there becomes a wildcard."""
    return re.sub(r"[\s\x00-\x1f\x7f]", "*", name)


class _Fields(dict[str, Any]):
    """Reads `{field}` from a struct of arguments."""

    def __init__(self, args: Any) -> None:
        super().__init__()
        self._args = args

    def __missing__(self, key: str) -> Any:
        return getattr(self._args, key)
