"""System calls of installed packages in the manual: asked of the kernel that answers, for they are in no table."""

import json
from typing import Any

from syscalls.calls import plugin as abi
from syscalls.calls.plugin import PluginCall
from syscalls.errors import SyscallError
from userland.cli import manual
from userland.cli.session import Session


def calls(session: Session) -> tuple[PluginCall, ...]:
    """Those of the kernel that answers; none where none does, or where it does not tell this user."""
    if not session.answers():
        return ()
    try:
        with session.link() as link:
            found: abi.PluginCalls = link.call(abi.CALLS, abi.ListCalls())
    except SyscallError:
        return ()
    return found.calls


def find(session: Session, name: str) -> PluginCall | None:
    """One by name, None where no package of the kernel that answers adds it."""
    return next((each for each in calls(session) if each.name == name), None)


def page(call: PluginCall) -> list[str]:
    """Its manual page."""
    lines = [manual.title(f"{call.name.upper()}(2)"), "", "NAME", f"    {call.name} - {summary(call)}", ""]
    if call.spec is not None:
        arguments = ", ".join(
            _argument(name, schema, call.spec.parameters) for name, schema in _properties(call).items()
        )
        lines += ["SYNOPSIS", f"    {call.name}({arguments}) -> ToolAnswer", ""]
        lines += ["DESCRIPTION", *manual.indented(call.spec.description or "Its package says no more."), ""]
    else:
        lines += ["DESCRIPTION", *manual.indented(f"Its worker cannot say what it takes: {call.error}"), ""]
    lines += ["NUMBER", f"    0x{call.number:04X}, on this kernel, until it ends; it is sent by name", ""]
    lines += ["RIGHT", f"    {call.right}", ""]
    told = f"{call.package} {call.version}: it runs in the package's worker in the sandbox, with the package's rights."
    return [*lines, "PACKAGE", *manual.indented(told)]


def summary(call: PluginCall) -> str:
    """One line: the first sentence of what it does."""
    if call.spec is None:
        return f"(not known: {call.error})"
    return call.spec.description.partition(". ")[0].rstrip(".") or f"a system call of {call.package}"


def described(call: PluginCall) -> dict[str, object]:
    """As plain data, with the JSON Schema of its arguments."""
    resource, _, action = call.right.partition(" ")
    return {
        "number": call.number,
        "name": call.name,
        "summary": summary(call),
        "doc": call.spec.description if call.spec else call.error,
        "package": call.package,
        "version": call.version,
        "right": {"action": action, "resource": resource},
        "args": call.spec.parameters if call.spec else None,
    }


def _properties(call: PluginCall) -> dict[str, Any]:
    found = call.spec.parameters.get("properties", {}) if call.spec else {}
    return found if isinstance(found, dict) else {}


def _argument(name: str, schema: Any, parameters: dict[str, Any]) -> str:
    kind = schema.get("type", "any") if isinstance(schema, dict) else "any"
    default = f" = {json.dumps(schema['default'])}" if isinstance(schema, dict) and "default" in schema else ""
    optional = "" if default or name in parameters.get("required", ()) else " = …"
    return f"{name}: {kind if isinstance(kind, str) else 'any'}{default}{optional}"
