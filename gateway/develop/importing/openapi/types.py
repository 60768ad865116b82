"""JSON Schemas of an OpenAPI description → GraphQL types.

Objects and enumerations get names, from the component or from the place where they stand; everything else is written where it is
used. What GraphQL has no type for is ``JSON``.
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
JSON = "JSON"


@dataclass(frozen=True, slots=True)
class ConvertedType:
    """What a schema means: a GraphQL type as text, and whether a value may be null."""

    type: str
    is_nullable: bool = False

    @property
    def text(self) -> str:
        """The type, with its exclamation mark unless a value may be null."""
        return self.type if self.is_nullable else f"{self.type}!"


class ConvertedTypes:
    """The types that schemas have become so far, by name."""

    def __init__(self, description: Description) -> None:
        self.left_out: list[Omission] = []
        self._description = description
        self._names = type_names()
        self._named: dict[int, str] = {}
        """Names by the identity of the schema in the description, which outlives this."""
        self._objects: set[str] = set()
        self._open: set[int] = set()
        self._enums: dict[tuple[str, tuple[str, ...]], str] = {}
        self._types: dict[str, NamedType] = {}
        self._waiting: list[tuple[str, Schema]] = []

    def complete(self) -> dict[str, NamedType]:
        """Build every type that has got a name, and those that they need, and return all."""
        while self._waiting:
            name, schema = self._waiting.pop()
            self._types[name] = self._object(name, schema)
        return self._types

    def shape(self, schema: Any, hint: str, where: str) -> ConvertedType:
        """Return the type of a schema; ``hint`` names it where it has no name, ``where`` is how people would find it."""
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
            return self._shape(schema, camel(name) if name else hint, where)
        finally:
            self._open.remove(id(schema))

    def input_type(self, schema: Any, hint: str, where: str) -> str:
        """Return the type of an argument: a scalar, an enumeration, or a list of one of these; what is none of these is text."""
        before = len(self.left_out)
        kind = self.shape(schema, hint, where).type
        item = kind[1:-1].rstrip("!") if kind.startswith("[") else kind
        if item == JSON or item.startswith("[") or item in self._objects:
            del self.left_out[before:]
            item = "String"
        return f"[{item}!]" if kind.startswith("[") else item

    def is_object(self, schema: Any) -> bool:
        """Tell whether a schema is of an object."""
        try:
            return _kind(self._description.found(schema)) == "object"
        except Unresolvable:
            return False

    def _shape(self, schema: Schema, hint: str, where: str) -> ConvertedType:
        merged = self._merged(schema)
        is_nullable = _is_nullable(schema)
        if not mapping(merged.get("properties")):
            for key in ("allOf", "oneOf", "anyOf"):
                if key in merged:
                    found = self._of_branches(key, merged[key], hint, where)
                    return ConvertedType(found.type, is_nullable or found.is_nullable)
        kind = _kind(merged)
        if kind == "object" and mapping(merged.get("properties")):
            return ConvertedType(self._name(schema, merged, hint), is_nullable)
        if kind == "array":
            item = self.shape(merged.get("items", {}), singular(hint) if singular(hint) != hint else f"{hint}Item", where)
            return ConvertedType(f"[{item.text}]", is_nullable)
        return ConvertedType(self._scalar(kind, merged, hint, where), is_nullable)

    def _merged(self, schema: Schema) -> Schema:
        """Merge ``allOf``: the properties of all parts together. Without properties there is nothing to merge."""
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
        if depth > 20:
            return
        for part in mappings(schema.get("allOf")):
            try:
                yield from self._parts(self._description.found(part), depth + 1)
            except Unresolvable as error:
                self.left_out.append(Omission("a part of an object that leads nowhere or elsewhere", str(error)))

    def _of_branches(self, key: str, branches: Any, hint: str, where: str) -> ConvertedType:
        """Return the one type that all branches are; null among them makes it nullable."""
        given = list(mappings(branches))
        some = [branch for branch in given if not _is_null(branch)]
        shapes = {self.shape(branch, hint, where) for branch in some if key != "allOf" or _says_something(branch)}
        is_nullable = len(some) < len(given) or any(shape.is_nullable for shape in shapes)
        kinds = {shape.type for shape in shapes}
        if len(kinds) == 1:
            return ConvertedType(kinds.pop(), is_nullable)
        found = self._json("one of several types (JSON)", where) if key != "allOf" else ConvertedType(JSON)
        return ConvertedType(found.type, is_nullable)

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
        self._waiting.append((name, merged))
        return name

    def _object(self, name: str, schema: Schema) -> NamedType:
        required = _texts(schema.get("required"))
        fields, comments = [], []
        for key, value in mapping(schema.get("properties")).items():
            if mapping(value).get("writeOnly") is True:
                continue
            if not is_name(key):
                comments.append(f"left out: '{key}' is not a GraphQL name")
                self.left_out.append(Omission("a property whose name is not a GraphQL name", f"{name}.{key}"))
                continue
            shape = self.shape(value, f"{name}{camel(key)}", f"{name}.{key}")
            kind = "ID" if shape.type in _CAN_BE_ID and ID.search(key) else shape.type
            is_null = shape.is_nullable or key not in required
            fields.append(Field(key, kind if is_null else f"{kind}!", self._describe(value)))
        if not fields:
            fields = [Field("_", JSON, "All properties are written only.")]
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
        """Return the name of an enumeration's type; None for one that stays text. One of a single value says nothing."""
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
    """Return a list of scalars, empty where the value is none."""
    is_flat = isinstance(values, list) and all(value is None or isinstance(value, str | int | float) for value in values)
    return list(values) if is_flat else []


def _texts(values: Any) -> list[str]:
    return [value for value in _flat(values) if isinstance(value, str)]


def _kind(schema: Schema) -> str | None:
    """Return the JSON type of a schema: what it says, or what its other keys mean; None when it is open."""
    said = schema.get("type")
    if isinstance(said, list):
        some = [kind for kind in said if kind != "null"]
        if set(some) == {"integer", "number"}:
            return "number"
        return some[0] if len(some) == 1 else None
    if isinstance(said, str):
        return said
    if mapping(schema.get("properties")) or "additionalProperties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    values = schema.get("enum")
    is_text = isinstance(values, list) and values and all(value is None or isinstance(value, str) for value in values)
    return "string" if is_text or isinstance(schema.get("const"), str) else None


def _is_nullable(schema: Schema) -> bool:
    said, values = schema.get("type"), schema.get("enum")
    is_listed = isinstance(said, list) and "null" in said
    return schema.get("nullable") is True or is_listed or (isinstance(values, list) and None in values)


def _is_null(schema: Schema) -> bool:
    return schema.get("type") == "null" or schema.get("enum") == [None] or ("const" in schema and schema["const"] is None)


def _says_something(schema: Schema) -> bool:
    return bool(schema.keys() & {"$ref", "type", "enum", "const", "properties", "items", "allOf", "oneOf", "anyOf"})


def _is_large(schema: Schema) -> bool:
    """Tell whether an integer may need more than the 32 bits that GraphQL's Int has."""
    examples = [schema.get(key) for key in ("maximum", "minimum", "example", "default")]
    return schema.get("format") == "int64" or any(
        isinstance(value, int | float) and not -_MAX_INT <= value < _MAX_INT for value in examples
    )
