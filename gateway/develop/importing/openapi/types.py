"""JSON Schemas of an OpenAPI description → GraphQL types.

Objects and enumerations get named types, after the component or the place of the schema; everything else is written inline. What cannot be
expressed in GraphQL becomes ``JSON``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.develop.importing.names import ID, camel, is_enum_value, is_name, sentence, singular, type_names
from gateway.develop.importing.openapi.description import Description, Schema, Unresolvable, mapping, mappings
from gateway.develop.importing.result import ImportFault, Omission
from gateway.develop.importing.sdl_text import EnumType, Field, NamedType, ObjectType

MAX_TYPES = 20_000
_MAX_INT = 2**31
_FORMATS = {"date-time": "DateTime", "date": "Date", "uuid": "UUID"}
_CAN_BE_ID = {"Int", "BigInt", "String", "UUID"}
_LARGE = re.compile(r"(?i)bytes|timestamp")
"""Names of integers that need more than 32 bits, although their schema has no format."""
JSON = "JSON"


@dataclass(frozen=True, slots=True)
class ConvertedType:
    """A converted schema: the GraphQL type as text, and whether a value may be null."""

    type: str
    is_nullable: bool = False

    @property
    def text(self) -> str:
        """The type, with an exclamation mark unless a value may be null."""
        return self.type if self.is_nullable else f"{self.type}!"


class ConvertedTypes:
    """Converts schemas to GraphQL types, and collects the named types. ``left_out`` has what could not be expressed."""

    def __init__(self, description: Description) -> None:
        self.left_out: list[Omission] = []
        self._description = description
        self._names = type_names()
        self._named: dict[int, str] = {}
        """``id()`` of a schema → its name. The description keeps the schemas alive, so that no ID is reused."""
        self._objects: set[str] = set()
        self._open: set[int] = set()
        """``id()`` of the schemas that are being converted, to detect recursion outside objects."""
        self._enums: dict[tuple[str, tuple[str, ...]], str] = {}
        self._types: dict[str, NamedType] = {}
        self._pending: list[tuple[str, Schema]] = []
        """Object types that have a name but no definition yet: built later, as types can refer to each other in circles."""

    def complete(self) -> dict[str, NamedType]:
        """Build all pending types, and the types that they need in turn; return all named types."""
        while self._pending:
            name, schema = self._pending.pop()
            self._types[name] = self._object(name, schema)
        return self._types

    def convert(self, schema: Any, hint: str, where: str) -> ConvertedType:
        """Return the type of a schema. ``hint`` is a name for a schema without one; ``where`` says in reports where it is."""
        try:
            schema, name = self._description.resolve(schema)
        except Unresolvable as error:
            return self._json("a reference that leads nowhere or elsewhere (JSON)", f"{where}: {error}")
        if not isinstance(schema, Mapping):
            return ConvertedType(JSON, is_nullable=True)
        if id(schema) in self._named:
            return ConvertedType(self._named[id(schema)], _is_nullable(schema))
        if id(schema) in self._open:
            return self._json("a type that is made of nothing but itself (JSON)", where)
        self._open.add(id(schema))
        try:
            return self._convert(schema, camel(name) if name else hint, where)
        finally:
            self._open.remove(id(schema))

    def input_type(self, schema: Any, hint: str, where: str) -> str:
        """Return the type of an argument: a scalar, an enumeration, or a list of these; ``String`` for everything else."""
        before = len(self.left_out)
        kind = self.convert(schema, hint, where).type
        item = kind[1:-1].rstrip("!") if kind.startswith("[") else kind
        if item == JSON or item.startswith("[") or item in self._objects:
            del self.left_out[before:]  # the reports are about a JSON type that is not used
            item = "String"
        return f"[{item}!]" if kind.startswith("[") else item

    def is_object(self, schema: Any) -> bool:
        """Tell whether a schema describes an object."""
        try:
            return _kind(self._description.resolve_mapping(schema)) == "object"
        except Unresolvable:
            return False

    def _convert(self, schema: Schema, hint: str, where: str) -> ConvertedType:
        merged = self._merged(schema)
        is_nullable = _is_nullable(schema)
        if not mapping(merged.get("properties")):
            for key in ("allOf", "oneOf", "anyOf"):
                if key in merged:
                    converted = self._convert_branches(key, merged[key], hint, where)
                    return ConvertedType(converted.type, is_nullable or converted.is_nullable)
        kind = _kind(merged)
        if kind == "object" and mapping(merged.get("properties")):
            return ConvertedType(self._name(schema, merged, hint), is_nullable)
        if kind == "array":
            item = self.convert(merged.get("items", {}), singular(hint) if singular(hint) != hint else f"{hint}Item", where)
            return ConvertedType(f"[{item.text}]", is_nullable)
        return ConvertedType(self._scalar(kind, merged, hint, where), is_nullable)

    def _merged(self, schema: Schema) -> Schema:
        """Return a schema with the properties of all parts of its ``allOf``; the schema itself if no part has properties."""
        if "allOf" not in schema:
            return schema
        properties: dict[str, Any] = {}
        required: list[str] = []
        for part in self._parts(schema, 0):
            properties.update(mapping(part.get("properties")))
            required += _texts(part.get("required"))
        if not properties:
            return schema
        return {"type": "object", "properties": properties, "required": required, "description": schema.get("description")}

    def _parts(self, schema: Schema, depth: int) -> Iterator[Schema]:
        yield schema
        if depth > 20:  # ends an allOf that contains itself
            return
        for part in mappings(schema.get("allOf")):
            try:
                yield from self._parts(self._description.resolve_mapping(part), depth + 1)
            except Unresolvable as error:
                self.left_out.append(Omission("a part of an object that leads nowhere or elsewhere", str(error)))

    def _convert_branches(self, key: str, branches: Any, hint: str, where: str) -> ConvertedType:
        """Return the type that all branches have in common, else JSON. A null branch makes it nullable."""
        given = list(mappings(branches))
        not_null = [branch for branch in given if not _is_null(branch)]
        # A part of an allOf can have a description only, which says nothing about the type.
        converted = {self.convert(branch, hint, where) for branch in not_null if key != "allOf" or _has_type(branch)}
        is_nullable = len(not_null) < len(given) or any(branch.is_nullable for branch in converted)
        kinds = {branch.type for branch in converted}
        if len(kinds) == 1:
            return ConvertedType(kinds.pop(), is_nullable)
        common = self._json("one of several types (JSON)", where) if key != "allOf" else ConvertedType(JSON)
        return ConvertedType(common.type, is_nullable)

    def _name(self, schema: Schema, merged: Schema, hint: str) -> str:
        if len(self._named) >= MAX_TYPES:
            raise ImportFault(f"the description has more than {MAX_TYPES} types")
        usable = [name for name in mapping(merged.get("properties")) if is_name(name)]
        if not usable:
            self.left_out.append(Omission("an object none of whose properties has a GraphQL name (JSON)", hint))
            self._named[id(schema)] = JSON
            return JSON
        name = self._names.take(hint)
        self._named[id(schema)] = name
        self._objects.add(name)
        self._pending.append((name, merged))
        return name

    def _object(self, name: str, schema: Schema) -> NamedType:
        required = _texts(schema.get("required"))
        fields, comments = [], []
        for key, value in mapping(schema.get("properties")).items():
            if mapping(value).get("writeOnly") is True:  # never in a response
                continue
            if not is_name(key):
                comments.append(f"left out: '{key}' is not a GraphQL name")
                self.left_out.append(Omission("a property whose name is not a GraphQL name", f"{name}.{key}"))
                continue
            converted = self.convert(value, f"{name}{camel(key)}", f"{name}.{key}")
            kind = "ID" if converted.type in _CAN_BE_ID and ID.search(key) else converted.type
            is_null = converted.is_nullable or key not in required
            fields.append(Field(key, kind if is_null else f"{kind}!", self._describe(value)))
        if not fields:  # a GraphQL type needs at least one field
            fields = [Field("_", JSON, "All properties are write-only.")]
        return ObjectType(name, tuple(fields), sentence(schema.get("description")), tuple(comments))

    def _describe(self, value: Any) -> str:
        return sentence(mapping(value).get("description"))

    def _scalar(self, kind: str | None, schema: Schema, hint: str, where: str) -> str:
        if kind == "string":
            return self._enum(schema, hint, where) or _FORMATS.get(str(schema.get("format")), "String")
        if kind == "integer":
            return "BigInt" if _is_large(schema) or _LARGE.search(where.rpartition(".")[2]) else "Int"
        if kind is None and mapping(schema) and not schema.keys() & {"type", "additionalProperties"}:
            self.left_out.append(Omission("a value whose type is not said (JSON)", where))
        elif kind == "object":
            self.left_out.append(Omission("an object whose properties are not known in advance (JSON)", where))
        elif kind is None and isinstance(schema.get("type"), list):
            self.left_out.append(Omission("one of several types (JSON)", where))
        return {"number": "Float", "boolean": "Boolean"}.get(kind or "", JSON)

    def _enum(self, schema: Schema, hint: str, where: str) -> str | None:
        """Return the name of the enum type of a schema; None if it has none, fewer than two values, or values that are not GraphQL names."""
        values = tuple(dict.fromkeys(value for value in _flat(schema.get("enum")) if value is not None))
        if len(values) < 2:
            return None
        if not all(is_enum_value(value) for value in values):
            self.left_out.append(Omission("an enumeration with values that are not GraphQL names (String)", where))
            return None
        if (hint, values) not in self._enums:
            name = self._enums[hint, values] = self._names.take(hint)
            self._types[name] = EnumType(name, values, self._describe(schema))
        return self._enums[hint, values]

    def _json(self, reason: str, where: str) -> ConvertedType:
        self.left_out.append(Omission(reason, where))
        return ConvertedType(JSON)


def _flat(values: Any) -> list[Any]:
    """Return a value if it is a list of scalars, else an empty list."""
    is_flat = isinstance(values, list) and all(value is None or isinstance(value, str | int | float) for value in values)
    return list(values) if is_flat else []


def _texts(values: Any) -> list[str]:
    return [value for value in _flat(values) if isinstance(value, str)]


def _kind(schema: Schema) -> str | None:
    """Return the JSON type of a schema: its ``type``, or the type that its other keys imply; None if it is undetermined."""
    declared = schema.get("type")
    if isinstance(declared, list):  # OpenAPI 3.1
        not_null = [kind for kind in declared if kind != "null"]
        if set(not_null) == {"integer", "number"}:
            return "number"
        return not_null[0] if len(not_null) == 1 else None
    if isinstance(declared, str):
        return declared
    if mapping(schema.get("properties")) or "additionalProperties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    values = schema.get("enum")
    is_text = isinstance(values, list) and values and all(value is None or isinstance(value, str) for value in values)
    return "string" if is_text or isinstance(schema.get("const"), str) else None


def _is_nullable(schema: Schema) -> bool:
    # "nullable" is of OpenAPI 3.0, a type "null" of 3.1.
    declared, values = schema.get("type"), schema.get("enum")
    is_listed = isinstance(declared, list) and "null" in declared
    return schema.get("nullable") is True or is_listed or (isinstance(values, list) and None in values)


def _is_null(schema: Schema) -> bool:
    return schema.get("type") == "null" or schema.get("enum") == [None] or ("const" in schema and schema["const"] is None)


def _has_type(schema: Schema) -> bool:
    """Tell whether a schema constrains the type of a value."""
    return bool(schema.keys() & {"$ref", "type", "enum", "const", "properties", "items", "allOf", "oneOf", "anyOf"})


def _is_large(schema: Schema) -> bool:
    """Tell whether an integer may need more than 32 bits, the size of GraphQL's Int."""
    examples = [schema.get(key) for key in ("maximum", "minimum", "example", "default")]
    return schema.get("format") == "int64" or any(
        isinstance(value, int | float) and not -_MAX_INT <= value < _MAX_INT for value in examples
    )
