"""JSON Schemas of the ABI's structs. msgspec's own generator stops at a default of type Raw, which ours have."""

from typing import Any, final

import msgspec
from msgspec import NODEFAULT, Raw, inspect

REF = "#/$defs/"


@final
class Schemas:
    """Makes schemas; `defs` gathers each struct once, as FAMILY.NAME."""

    def __init__(self, kinds: list[type[Any]]) -> None:
        self.defs: dict[str, Any] = {}
        self._names: dict[type[Any], str] = {}
        infos = inspect.multi_type_info(kinds)
        found: dict[type[Any], inspect.StructType] = {}
        for info in infos:
            _gather(info, found)
        for kind in found:
            self._names[kind] = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
        for kind, info in found.items():
            self.defs[self._names[kind]] = self._struct(info)
        self.defs = dict(sorted(self.defs.items()))

    def ref(self, kind: type[Any]) -> dict[str, Any]:
        """The reference to a struct that was given."""
        return {"$ref": REF + self._names[kind]}

    def _of(self, info: inspect.Type) -> dict[str, Any]:
        match info:
            case inspect.Metadata():
                return {**self._of(info.type), **(info.extra_json_schema or {})}
            case inspect.StructType():
                return {"$ref": REF + self._names[info.cls]}
            case inspect.UnionType():
                return {"anyOf": [self._of(each) for each in info.types]}
            case inspect.VarTupleType() | inspect.ListType() | inspect.SetType() | inspect.FrozenSetType():
                return {"type": "array", "items": self._of(info.item_type)}
            case inspect.TupleType():
                items = [self._of(each) for each in info.item_types]
                return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
            case inspect.DictType():
                return {"type": "object", "additionalProperties": self._of(info.value_type)}
            case inspect.LiteralType():
                return {"enum": list(info.values)}
            case inspect.EnumType():
                return {"enum": [member.value for member in info.cls]}
            case _:
                return _plain(info)

    def _struct(self, info: inspect.StructType) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required = []
        if info.tag_field is not None:
            properties[info.tag_field] = {"const": info.tag}
            required.append(info.tag_field)
        for field in info.fields:
            properties[field.encode_name] = self._field(field)
            if field.required:
                required.append(field.encode_name)
        doc = " ".join((info.cls.__doc__ or "").split())
        schema: dict[str, Any] = {
            "title": info.cls.__name__,
            "description": doc,
            "type": "object",
            "properties": properties,
        }
        schema["required"] = required
        if info.forbid_unknown_fields:
            schema["additionalProperties"] = False
        return schema

    def _field(self, field: inspect.Field) -> dict[str, Any]:
        schema = self._of(field.type)
        if field.required:
            return schema
        default = field.default if field.default is not NODEFAULT else field.default_factory()
        if isinstance(default, Raw):
            default = msgspec.msgpack.decode(default)
        return {**schema, "default": msgspec.json.decode(msgspec.json.encode(default))}


def _plain(info: inspect.Type) -> dict[str, Any]:
    match info:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return _bounded({"type": "integer"}, info)
        case inspect.FloatType():
            return _bounded({"type": "number"}, info)
        case inspect.StrType():
            return {"type": "string"}
        case inspect.BytesType():
            return {"type": "string", "contentEncoding": "base64"}
        case inspect.NoneType():
            return {"type": "null"}
        case inspect.AnyType() | inspect.RawType():
            return {}
    raise AssertionError(f"no schema is known for {info}")


def _bounded(schema: dict[str, Any], info: inspect.IntType | inspect.FloatType) -> dict[str, Any]:
    bounds = {"minimum": info.ge, "exclusiveMinimum": info.gt, "maximum": info.le, "exclusiveMaximum": info.lt}
    return {**schema, **{name: bound for name, bound in bounds.items() if bound is not None}}


def _gather(info: inspect.Type, found: dict[type[Any], inspect.StructType]) -> None:
    """Every struct in a type, once."""
    if isinstance(info, inspect.StructType):
        if info.cls in found:
            return
        found[info.cls] = info
        for field in info.fields:
            _gather(field.type, found)
    for name in ("type", "item_type", "value_type", "key_type"):
        if hasattr(info, name):
            _gather(getattr(info, name), found)
    for name in ("types", "item_types"):
        for each in getattr(info, name, ()):
            _gather(each, found)
