"""JSON Schema, as much of it as job files may use: checking the schema itself, then values against it."""

import math
from typing import Any

from syscalls.errors import Invalid

_TYPES: dict[str, tuple[type[Any], ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
KEYWORDS = frozenset(
    {
        "type", "properties", "required", "additionalProperties", "items", "enum", "const", "minimum", "maximum",
        "minLength", "maxLength", "minItems", "maxItems", "title", "description", "default",
    }
)  # fmt: skip
"""What a schema may say. A keyword that is not here is refused rather than passed over."""


def check_schema(schema: Any, at: str = "schema") -> None:
    """Raises Invalid (EINVAL) that names the place if `schema` says something this module does not check."""
    if not isinstance(schema, dict):
        raise Invalid(f"{at} must be a table, as in {{type = 'object'}}")
    unknown = sorted(set(schema) - KEYWORDS)
    if unknown:
        raise Invalid(f"{at}: {unknown[0]!r} is not supported; use {', '.join(sorted(KEYWORDS))}")
    for kind in _kinds(schema):
        if kind not in _TYPES:
            raise Invalid(f"{at}.type: {kind!r} is no type; use {', '.join(_TYPES)}")
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise Invalid(f"{at}.properties must be a table")
    for name, inner in properties.items():
        check_schema(inner, f"{at}.properties.{name}")
    if isinstance(schema.get("additionalProperties"), dict):
        check_schema(schema["additionalProperties"], f"{at}.additionalProperties")
    if "items" in schema:
        check_schema(schema["items"], f"{at}.items")


def problem(schema: dict[str, Any], value: Any, at: str = "the answer") -> str | None:
    """What is wrong with `value`, in one sentence, or None when it fits."""
    kinds = _kinds(schema)
    if kinds and not any(_is(kind, value) for kind in kinds):
        return f"{at} must be {' or '.join(kinds)}, not {_name(value)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} must be one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        return f"{at} must be {schema['const']!r}"
    size = _size_problem(schema, value, at)
    if size is not None:
        return size
    if isinstance(value, dict):
        return _object_problem(schema, value, at)
    if isinstance(value, list | tuple) and "items" in schema:
        for number, item in enumerate(value):
            found = problem(schema["items"], item, f"{at}[{number}]")
            if found is not None:
                return found
    return None


def _object_problem(schema: dict[str, Any], value: dict[str, Any], at: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{at} has no {name!r}"
    others = schema.get("additionalProperties", True)
    for name, inner in value.items():
        if name in properties:
            found = problem(properties[name], inner, f"{at}.{name}")
        elif others is False:
            found = f"{at} has {name!r}, which is not asked for"
        else:
            found = problem(others, inner, f"{at}.{name}") if isinstance(others, dict) else None
        if found is not None:
            return found
    return None


def _size_problem(schema: dict[str, Any], value: Any, at: str) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _between(value, schema.get("minimum"), schema.get("maximum"), at)
    if isinstance(value, str):
        return _between(len(value), schema.get("minLength"), schema.get("maxLength"), f"the length of {at}")
    if isinstance(value, list | tuple):
        return _between(len(value), schema.get("minItems"), schema.get("maxItems"), f"the length of {at}")
    return None


def _between(value: float, least: float | None, most: float | None, at: str) -> str | None:
    if least is not None and value < least:
        return f"{at} must be at least {least}, not {value}"
    if most is not None and value > most:
        return f"{at} must be at most {most}, not {value}"
    return None


def _kinds(schema: dict[str, Any]) -> tuple[str, ...]:
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else tuple(kind)


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return math.isfinite(value) and value == int(value)
    return isinstance(value, _TYPES[kind])


def _name(value: Any) -> str:
    return next((kind for kind in _TYPES if _is(kind, value)), type(value).__name__)
