"""Which rights there are: the kinds of resources and the actions on them, as the system-call table has them."""

from syscalls.errors import SyscallError
from syscalls.rights import Right
from syscalls.table import TABLE


def check_right(text: str) -> Right:
    """A right whose kind and actions the system calls know. Raises ValueError that lists those there are."""
    try:
        right = Right.parse(text)
    except SyscallError as bad:
        raise ValueError(bad.message) from None
    kind, colon, rest = right.resource.partition(":")
    if not colon:
        return right
    known = _actions()
    if kind not in known:
        raise ValueError(f"'{text}': there is no right to {kind!r}; the kinds are {', '.join(sorted(known))}")
    actions = known[kind]
    wrong = [action for action in right.actions if action != "*" and actions and action not in actions]
    if wrong:
        known_actions = ", ".join(sorted(actions))
        raise ValueError(f"'{text}': there is no action {wrong[0]!r} on {kind}; there are {known_actions}")
    if kind == "kernel" and "*" not in rest and rest not in _kernel_parts():
        raise ValueError(f"'{text}': the kernel has no part {rest!r}; it has {', '.join(sorted(_kernel_parts()))}")
    return right


def _actions() -> dict[str, frozenset[str]]:
    """Per kind of resource the actions there are; an empty set where any word may be one."""
    found: dict[str, set[str]] = {"store": {"call", "open"}, "syscall": {"call"}}
    free: set[str] = {"net"}
    for row in TABLE.values():
        for needs in (row.needs, row.also):
            if needs is not None:
                kind = needs.resource.partition(":")[0]
                actions = found.setdefault(kind, set())
                if "{" not in needs.action:
                    actions.add(needs.action)
    return {kind: frozenset() if kind in free else frozenset(actions) for kind, actions in found.items()}


def _kernel_parts() -> set[str]:
    needs = (row.needs.resource for row in TABLE.values() if row.needs is not None)
    return {resource.partition(":")[2] for resource in needs if resource.startswith("kernel:")}
