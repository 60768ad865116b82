"""Text with ``{references}`` → a tree of templates → a function that renders it against the values of one request.

The same rules hold for every input of a step (design, exact rules 2 and 3): ``{a.b.c}`` is a dotted path, ``{name?}`` may be absent,
``{{`` is a literal brace, and a string that is exactly one reference keeps the type of its value.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, cast

from gateway.errors import StepgraphError


@dataclass(frozen=True, slots=True)
class Reference:
    """A dotted path into the scope; ``is_optional`` if it is written with a question mark."""

    path: tuple[str, ...]
    is_optional: bool = False

    @property
    def root(self) -> str:
        """The first name of the path: an argument, a step, or a reserved word."""
        return self.path[0]

    def __str__(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text and references, in order."""

    parts: tuple[str | Reference, ...]


Scope = Mapping[str, object]
"""Names → values: the arguments and the settled steps, and ``args``, ``context`` and ``request``."""


class Omitted(Enum):
    """The value of an absent optional reference: the key or list item that contains it is left out."""

    OMITTED = "omitted"


OMITTED = Omitted.OMITTED


class TemplateError(StepgraphError):
    """A text is not a valid template; ``offset`` counts characters from its start."""

    def __init__(self, message: str, offset: int) -> None:
        self.offset = offset
        super().__init__(message)


class MissingValue(StepgraphError):
    """A required reference has no value."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        super().__init__(str(reference))


class UnusableValue(StepgraphError):
    """The value of a reference has a type that cannot be used in its place."""

    def __init__(self, reference: Reference, reason: str) -> None:
        self.reference = reference
        self.reason = reason
        super().__init__(f"{reference} {reason}")


# "{{" comes before "{…}", so that an escaped brace never begins a reference.
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{")
_PATH = re.compile(r"([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*)(\?)?")


@lru_cache(maxsize=1024)
def parse(text: str) -> str | Reference | Template:
    """Parse a template; return plain text as text, and a sole reference as itself. Results are cached.

    :raises TemplateError: a brace is not closed, or a reference is not a dotted path.
    """
    parts: list[str | Reference] = []
    end = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[end : token.start()])
        end = token.end()
        parts.append(token[0][0] if token[0] in {"{{", "}}"} else _reference(token))
    parts.append(text[end:])
    merged = _merge(parts)
    if len(merged) == 1:
        return merged[0]
    return Template(tuple(merged)) if merged else ""


def _reference(token: re.Match[str]) -> Reference:
    if token[1] is None:
        raise TemplateError("'{' is not closed; write '{{' for a literal brace", token.start())
    path = _PATH.fullmatch(token[1].strip())
    if path is None:
        message = f"'{token[0]}' is not a reference such as {{name}} or {{step.field}}; write '{{{{' for a literal brace"
        raise TemplateError(message, token.start())
    return Reference(tuple(path[1].split(".")), is_optional=path[2] is not None)


def _merge(parts: list[str | Reference]) -> list[str | Reference]:
    merged: list[str | Reference] = []
    for part in parts:
        if part == "":
            continue
        if merged and isinstance(part, str) and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def parse_tree(value: object) -> object:
    """Return a value of mappings and lists with every text in it parsed as a template."""
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, Mapping):
        return {key: parse_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(parse_tree(item) for item in value)
    return value


def references(tree: object) -> Iterator[Reference]:
    """Yield every reference of a tree, in the order in which they are written."""
    if isinstance(tree, str):
        return
    if isinstance(tree, Reference):
        yield tree
    elif isinstance(tree, Template):
        yield from (part for part in tree.parts if isinstance(part, Reference))
    elif isinstance(tree, tuple):
        for item in tree:
            yield from references(item)
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from references(item)


Renderer = Callable[[Scope], Any]
"""From the scope of one request to the value of a tree. Parts without references are one object for all requests: do not modify them."""


def renderer(tree: object) -> Renderer:
    """Compile a tree, once for all requests, into the function that renders it in a scope.

    The function leaves out keys and list items whose value is an absent optional reference; it returns :data:`OMITTED` when the tree
    itself is one. It raises MissingValue when a reference without ``?`` has no value, and UnusableValue when an object or list is
    inserted into a text.
    """
    if isinstance(tree, Reference):
        return _reference_renderer(tree)
    if isinstance(tree, Template):
        return lambda scope: _render_text(tree, scope)
    if not any(references(tree)):
        value = _without_references(tree)
        return lambda _: value
    return _mapping_renderer(tree) if isinstance(tree, Mapping) else _list_renderer(cast("tuple[object, ...]", tree))


def _reference_renderer(reference: Reference) -> Renderer:
    if len(reference.path) > 1:
        return lambda scope: resolve(reference, scope)
    (name,) = reference.path

    def look_up(scope: Scope) -> object:
        # Fast path: a value that is there takes one lookup; resolve() handles absent and null values.
        value = scope.get(name)
        return value if value is not None else resolve(reference, scope)

    return look_up


def _mapping_renderer(tree: Mapping[str, object]) -> Renderer:
    # The copy below has a key for every item, so that the rendered keys keep their written order.
    constant = {key: _without_references(item) if not any(references(item)) else None for key, item in tree.items()}
    varying = [(key, renderer(item)) for key, item in tree.items() if any(references(item))]

    def render_mapping(scope: Scope) -> object:
        rendered = constant.copy()
        for key, render in varying:
            value = render(scope)
            if value is OMITTED:
                del rendered[key]
            else:
                rendered[key] = value
        return rendered

    return render_mapping


def _list_renderer(tree: tuple[object, ...]) -> Renderer:
    items = [renderer(item) for item in tree]
    if not any(reference.is_optional for reference in references(tree)):
        return lambda scope: [render(scope) for render in items]
    return lambda scope: [value for value in (render(scope) for render in items) if value is not OMITTED]


def _without_references(tree: object) -> object:
    """Return the value of a tree without references, with lists for the tuples of the tree."""
    if isinstance(tree, Mapping):
        return {key: _without_references(item) for key, item in tree.items()}
    return [_without_references(item) for item in tree] if isinstance(tree, tuple) else tree


def resolve(reference: Reference, scope: Scope) -> object:
    """Return the value of a reference; :data:`OMITTED` when it is absent or null and optional.

    :raises MissingValue: it is absent or null, and not optional.
    """
    value = value_at(scope, reference.path)
    if value is not None:
        return value
    if reference.is_optional:
        return OMITTED
    raise MissingValue(reference)


def value_at(value: object, path: tuple[str, ...]) -> object:
    """Return the value at a path, None when there is none. A decimal name is an index into a list."""
    for name in path:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and len(name) < 10:  # int() refuses thousands of digits
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value


def _render_text(template: Template, scope: Scope) -> object:
    texts: list[str] = []
    for part in template.parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        value = resolve(part, scope)
        if value is OMITTED:
            return OMITTED
        texts.append(as_text(value, part))
    return "".join(texts)


def as_text(value: object, reference: Reference) -> str:
    """Return a scalar as its JSON text, and a string unchanged.

    :raises UnusableValue: the value is an object or a list.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):  # before int: in Python a bool is an int
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise UnusableValue(reference, "is an object or a list where text is needed")
