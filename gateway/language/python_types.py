"""Python classes decorated with ``@strawberry.type`` → SDL, and their instances → plain data (the second module that imports Strawberry).

Strawberry prints the SDL of a schema of these types, with names as they are written (no camel case). Field resolvers are not used:
the gateway reads plain data.
"""

import pkgutil
import sys
import threading
import types
import typing
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from importlib import import_module
from numbers import Integral, Real
from typing import Any, Union
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig
from strawberry.types import get_object_definition, has_object_definition
from strawberry.types.enum import StrawberryEnumDefinition

from gateway.errors import did_you_mean

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
_JSON_SCALARS = frozenset({str, int, float, bool})


@strawberry.type
class Query:
    """The query type that a Strawberry schema must have; the gateway does not read it."""

    ok: bool = True


def import_suggestion(error: Exception) -> str:
    """Return ``; did you mean 'x'?`` for an import error or attribute error, or an empty string when no name is close."""
    if isinstance(error, AttributeError):
        return did_you_mean(error.name or "", dir(error.obj))
    if isinstance(error, ModuleNotFoundError) and error.name:
        package, _, name = error.name.rpartition(".")
        folders = sys.modules[package].__path__ if package in sys.modules else None
        return did_you_mean(name, (module.name for module in pkgutil.iter_modules(folders)))
    return ""


def load_class(path: str) -> type:
    """Return the class that ``package.module:Class`` names.

    :raises ValueError: it cannot be loaded, or is not a Strawberry type; the message says what to do.
    """
    try:
        loaded = load_object(path)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"'{path}' cannot be loaded: {error}{import_suggestion(error)}") from error
    if not isinstance(loaded, type) or not has_object_definition(loaded):
        raise ValueError(f"'{path}' is no GraphQL type; decorate it with @strawberry.type")
    return loaded


def load_object(path: str) -> Any:
    """Return the object that ``package.module:name`` names; the name may be dotted.

    :raises ImportError: there is no such module, or it raises an exception when it is imported.
    :raises AttributeError: the module has no such name.
    """
    module, _, name = path.partition(":")
    try:
        loaded: Any = import_module(module)
        for part in name.split("."):
            loaded = getattr(loaded, part)
    except (ImportError, AttributeError):
        raise
    except BaseException as error:
        # `sys.exit()` in a module must not end a gateway that loads it at a reload. Only Ctrl-C at the terminal still ends a command.
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        raise ImportError(f"'{module}' raises {type(error).__name__} when it is imported: {exception_text(error)}") from error
    return loaded


def exception_text(error: BaseException) -> str:
    """Return the text of an exception that other people's code has raised, whose ``__str__`` may raise anything itself."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - whatever it is, it must not end the caller
        return "an exception without a text"


def print_types(classes: Sequence[type]) -> str:
    """Return the SDL of classes and of all types that they reference: interfaces, unions, enums, scalars. It includes the ``Query`` type above.

    :raises ValueError: Strawberry rejects them, or one of their fields has a resolver method.
    """
    try:
        schema = strawberry.Schema(query=Query, types=classes, config=StrawberryConfig(auto_camel_case=False))
        text = schema.as_str()
    except Exception as error:
        raise ValueError(f"Strawberry cannot make a schema of it: {error}") from error
    for cls in classes:
        for field in _resolver_fields(cls, set()):
            message = f"the field '{field}' is computed by a method, which is not called; give it a value, or make it a link"
            raise ValueError(message)
    return text


def _resolver_fields(cls: object, seen: set[object]) -> Iterator[str]:
    """Yield the fields with a resolver method, of a class and of the classes that its fields reference."""
    definition = get_object_definition(cls) if isinstance(cls, type) else None
    if definition is None or cls in seen:
        return
    seen.add(cls)
    for field in definition.fields:
        if field.base_resolver is not None:
            yield f"{definition.name}.{field.python_name}"
        inner = field.type
        while hasattr(inner, "of_type"):  # a list or an optional
            inner = inner.of_type
        for part in getattr(inner, "types", (inner,)):  # a union has several types
            yield from _resolver_fields(part, seen)


def returned_type(function: Callable[..., Any]) -> str | None:
    """Return the GraphQL type of a function's return annotation, as text; None where the annotation has no GraphQL type.

    The outermost type is nullable whatever the annotation says, because the value of a step may be null.
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
    """Return the GraphQL names and the values of an instance of a Strawberry type, its ``__typename`` first; None for any other object."""
    definition = None if isinstance(value, type) else get_object_definition(type(value))
    if definition is None:
        return None
    fields = ((field.graphql_name or field.python_name, field) for field in definition.fields)
    named = ((name, getattr(value, field.python_name)) for name, field in fields if field.base_resolver is None)
    return iter([("__typename", definition.name), *named])


def enum_name(value: Enum) -> str:
    """Return the GraphQL name of an enum member."""
    definition = _enum_definition(type(value))
    return next((item.name for item in definition.values if item.value == value.value), value.name) if definition else value.name


def scalar_text(value: object) -> object:
    """Return a scalar as JSON: dates, times, decimals and UUIDs as text, instances of subclasses as plain texts and numbers.

    :raises TypeError: the value is nothing that JSON has.
    :raises ValueError: it is half a surrogate pair, or a number of so many digits that Python does not write it.
    """
    if value is None or type(value) in _JSON_SCALARS:
        return _writable(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, str):
        return _writable(
            str.__str__(value)
        )  # a subclass could have a `__str__` of its own, and would run it while the response is written
    if isinstance(value, Integral):
        return _writable(int(value))
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"a value is of type {type(value).__name__}, which is no JSON")


def _writable(value: object) -> object:
    """Check that a text or a number can be written: in the middle of a response it is too late to make it the failure of its step."""
    if type(value) is str:
        if not value.isascii():
            value.encode()
    elif type(value) is int and value.bit_length() > 64:
        str(value)
    return value
