"""Python classes decorated with ``@strawberry.type`` → SDL, and their objects → plain data (the second module that knows Strawberry).

The SDL is Strawberry's own print of a schema of these types, with names as they are written (no camel case). What resolves their fields
is left behind with that: the gateway reads plain data.
"""

import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from importlib import import_module
from typing import Any, Union
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig
from strawberry.types import get_object_definition, has_object_definition
from strawberry.types.enum import StrawberryEnumDefinition

from gateway.errors import nearest

_SCALARS: Mapping[object, str] = {
    str: "String",
    int: "Int",
    float: "Float",
    bool: "Boolean",
    strawberry.ID: "ID",
    JSON: "JSON",
    datetime: "DateTime",
    date: "Date",
    time: "Time",
    Decimal: "Decimal",
    UUID: "UUID",
}


@strawberry.type
class Query:
    """What a Strawberry schema has to have; it is not among the types that are read."""

    ok: bool = True


def meant(error: Exception) -> str:
    """Return a hint at the module or name that one which is not there was probably meant to be."""
    if isinstance(error, AttributeError):
        return nearest(error.name or "", dir(error.obj))
    if isinstance(error, ModuleNotFoundError) and error.name:
        package, _, name = error.name.rpartition(".")
        folders = sys.modules[package].__path__ if package in sys.modules else None
        return nearest(name, (module.name for module in pkgutil.iter_modules(folders)))
    return ""


def load_class(path: str) -> type:
    """Return the class that ``package.module:Class`` names.

    :raises ValueError: it cannot be loaded, or Strawberry knows nothing of it; the text says what to do.
    """
    try:
        found = load_object(path)
    except Exception as error:
        raise ValueError(f"'{path}' cannot be loaded: {error}{meant(error)}") from error
    if not isinstance(found, type) or not has_object_definition(found):
        raise ValueError(f"'{path}' is no GraphQL type; decorate it with @strawberry.type")
    return found


def load_object(path: str) -> Any:
    """Return what ``package.module:name`` names.

    :raises ImportError: there is no such module.
    :raises AttributeError: there is no such name in it.
    """
    module, _, name = path.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def print_types(classes: Sequence[type]) -> str:
    """Return the SDL of classes and of all that they lead to: interfaces, unions, enums, scalars. It has a ``Query`` of its own.

    :raises ValueError: Strawberry refuses them, or one of their fields is computed by a method.
    """
    try:
        schema = strawberry.Schema(query=Query, types=classes, config=StrawberryConfig(auto_camel_case=False))
        text = schema.as_str()
    except Exception as error:
        raise ValueError(f"Strawberry cannot make a schema of it: {error}") from error
    for cls in classes:
        for field in _computed(cls, set()):
            message = f"the field '{field}' is computed by a method, which is not called; give it a value, or make it a link"
            raise ValueError(message)
    return text


def _computed(cls: object, seen: set[object]) -> Iterator[str]:
    """Yield the fields of a class, and of the classes that its fields lead to, that a method computes."""
    definition = get_object_definition(cls) if isinstance(cls, type) else None
    if definition is None or cls in seen:
        return
    seen.add(cls)
    for field in definition.fields:
        if field.base_resolver is not None:
            yield f"{definition.name}.{field.python_name}"
        inner = field.type
        while hasattr(inner, "of_type"):
            inner = inner.of_type
        for part in getattr(inner, "types", (inner,)):
            yield from _computed(part, seen)


def returned_type(function: Callable[..., Any]) -> str | None:
    """Return the GraphQL type that a function is annotated to return, as text; None where the annotation says nothing to GraphQL.

    The value of a step may be null, whatever the annotation says.
    """
    try:
        annotation = typing.get_type_hints(function, include_extras=True).get("return")
    except Exception:  # noqa: BLE001 - an annotation can be any code, and one that cannot be read says nothing
        return None
    text = _type_text(annotation)
    return text.removesuffix("!") if text else None


def _type_text(annotation: Any) -> str | None:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {Union, types.UnionType}:
        inner = [part for part in arguments if part is not type(None)]
        text = _type_text(inner[0]) if len(inner) == 1 else None
        return text.removesuffix("!") if text else None
    if origin is list:
        text = _type_text(arguments[0])
        return f"[{text}]!" if text else None
    name = _SCALARS.get(annotation) if isinstance(annotation, Hashable) else None
    if name is None and isinstance(annotation, type):
        definition = get_object_definition(annotation) or _enum_definition(annotation)
        name = definition.name if definition else None
    return f"{name}!" if name else None


def _enum_definition(annotation: type) -> StrawberryEnumDefinition | None:
    definition = getattr(annotation, "__strawberry_definition__", None)
    return definition if isinstance(definition, StrawberryEnumDefinition) else None


def object_data(value: object) -> Iterator[tuple[str, object]] | None:
    """Yield the GraphQL names and the values of an object of a Strawberry type, its ``__typename`` first; None for another object."""
    definition = None if isinstance(value, type) else get_object_definition(type(value))
    if definition is None:
        return None
    fields = ((field.graphql_name or field.python_name, field) for field in definition.fields)
    named = ((name, getattr(value, field.python_name)) for name, field in fields if field.base_resolver is None)
    return iter([("__typename", definition.name), *named])


def enum_name(value: Enum) -> str:
    """Return the GraphQL name of the member of an enum."""
    definition = _enum_definition(type(value))
    return next((item.name for item in definition.values if item.value == value.value), value.name) if definition else value.name


def scalar_text(value: object) -> object:
    """Return times, decimals and UUIDs as the text that stands for them in JSON, anything else as it is."""
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | UUID) else value
