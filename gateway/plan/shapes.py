"""What a plan wants of a node's value → its shape, where all of that can be told beforehand.

Only values that nobody but the projection and links by a single key look at have one: not those that other steps read, that a fallback may
stand in for, or that other requests share. Their fields are scalars that JSON tells apart, objects, and lists of them.
"""

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, GraphQLOutputType, GraphQLScalarType, get_named_type

from gateway.blueprint import Link
from gateway.contract.shape import LEAVES, ObjectForm, Shape, object_type
from gateway.document.selection import TYPENAME, Selected
from gateway.plan.nodes import Hops, Node, written_arguments

MAX_LEVELS = 3
"""Of objects within each other: the code that answers with them nests loops, and Python nests 20 at the most."""

_KEYS = frozenset({"Int", "String", "ID"})
LinkNodes = Mapping[tuple[int, Hops, str, str], int]


class _ShapelessError(Exception):
    """There is something in a selection that has no shape."""


def with_shapes(nodes: Sequence[Node], links: LinkNodes, values: Mapping[int, list[Selected]]) -> tuple[Node, ...]:
    """Give the nodes of a plan their shapes; ``values`` is what is selected of the value of each."""
    read = {index for node in nodes for index in (*node.substitutes.values(), *(() if node.use else node.needs))}
    forms: dict[int, ObjectForm] = {}
    return tuple(
        replace(node, shape=_shape_of(node, nodes, links, values[node.index][0], forms))
        if len(values.get(node.index, ())) == 1 and node.index not in read and _is_taken_as_it_comes(node)
        else node
        for node in nodes
    )


def _is_taken_as_it_comes(node: Node) -> bool:
    """Tell whether a node's value is its call's reply, and of this request alone."""
    step = node.step
    is_kept = step.lifetime is not None or step.is_deduplicated or node.is_shared
    return step.takes_shape and not (step.select or step.fallbacks or is_kept)


def _shape_of(
    node: Node, nodes: Sequence[Node], links: LinkNodes, selected: Selected, forms: dict[int, ObjectForm]
) -> Shape | None:
    """Return the shape of a node's reply; that of a link's batch has a list of objects for all keys."""
    use, named = node.use, get_named_type(selected.type)
    if not isinstance(named, GraphQLObjectType):
        return None
    inner = selected.type.of_type if isinstance(selected.type, GraphQLNonNull) else selected.type
    shaper = _Shaper(node.index, nodes, links, use.link.match if use else (), dict(forms))
    try:
        if use and use.link.match:
            declared: Any = tuple[shaper.form(named, selected.parts[named.name], ()).type, ...]  # type: ignore[misc]
        else:
            declared = shaper.inner(inner, selected.parts, ()) | None
    except _ShapelessError:
        return None
    forms.update(shaper.forms)
    return Shape(declared, forms)


@dataclass(slots=True)
class _Shaper:
    """Makes the types of one shape. ``match`` are the fields by which a link knows whose an object is."""

    node: int
    nodes: Sequence[Node]
    links: LinkNodes
    match: tuple[str, ...]
    forms: dict[int, ObjectForm]
    """Those of this shape and the ones before it in the plan."""

    def complete(self, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], hops: Hops) -> Any:
        if isinstance(declared, GraphQLNonNull):
            return self.inner(declared.of_type, parts, hops)
        return self.inner(declared, parts, hops) | None

    def inner(self, inner: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], hops: Hops) -> Any:
        if isinstance(inner, GraphQLList):
            if str(inner).startswith("[["):  # which would nest more loops than levels
                raise _ShapelessError
            return tuple[self.complete(inner.of_type, parts, hops), ...]  # type: ignore[misc]
        if isinstance(inner, GraphQLObjectType):
            return self.form(inner, parts[inner.name], hops).type
        return _leaf(inner)

    def form(self, declared: GraphQLObjectType, selection: tuple[Selected, ...], hops: Hops) -> ObjectForm:
        if len(hops) >= MAX_LEVELS or id(selection) in self.forms:
            raise _ShapelessError
        fields: dict[str, tuple[str, Any, bool]] = {}
        keys = dict.fromkeys(() if hops else self.match)
        for name in keys:
            _key_type(declared, name)
        is_answer = True
        for part in selection:
            if part.name == TYPENAME or part.name in fields or keyword.iskeyword(part.name):
                if part.parts or keyword.iskeyword(part.name):
                    raise _ShapelessError
                is_answer = False
                continue
            link = self.link(declared, part, hops)
            if link is not None:
                keys[_key_of(link, declared, part)] = None
                fields[part.name] = (part.name, Any, False)
            else:
                made = self.complete(part.type, part.parts, (*hops, part.name))
                fields[part.name] = (part.name, made, isinstance(part.type, GraphQLNonNull))
                is_answer = is_answer and self.is_answer(part)
            is_answer = is_answer and part.key == part.name
        described = [*fields.values(), *((name, _key_type(declared, name), False) for name in keys if name not in fields)]
        is_answer = is_answer and len(described) == len(fields)
        form = self.forms[id(selection)] = ObjectForm(object_type(declared.name, described), is_answer=is_answer)
        return form

    def is_answer(self, part: Selected) -> bool:
        named = get_named_type(part.type)
        return all(self.forms[id(selection)].is_answer for selection in part.parts.values()) if part.parts else named.name != "ID"

    def link(self, declared: GraphQLObjectType, part: Selected, hops: Hops) -> Link | None:
        index = self.links.get((self.node, hops, f"{declared.name}.{part.name}", written_arguments(part)))
        use = self.nodes[index].use if index is not None else None
        return use.link if use else None


def _leaf(declared: GraphQLOutputType) -> Any:
    if isinstance(declared, GraphQLScalarType) and declared.name in LEAVES:
        return LEAVES[declared.name]
    raise _ShapelessError


def _key_of(link: Link, declared: GraphQLObjectType, part: Selected) -> str:
    """Return the field of the parent by which a link finds its value."""
    name = link.single
    if name is None or not link.match or isinstance(part.type, GraphQLNonNull):
        raise _ShapelessError
    _key_type(declared, name)
    return name


def _key_type(declared: GraphQLObjectType, name: str) -> Any:
    """Return the type of a key. It must be one whose values are, as text, what the upstream has sent."""
    leaf = str(declared.fields[name].type).removesuffix("!") if name in declared.fields else ""
    if leaf not in _KEYS or keyword.iskeyword(name):
        raise _ShapelessError
    return LEAVES[leaf]
