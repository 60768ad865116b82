"""Compile what a plan reads of a node's value to a shape, a typed decoder of the reply; only where all of that is known beforehand.

A value has a shape only if nothing but the projection and links with a single key field read it: not if other steps read it, if it has
fallbacks, or if other requests share it. Its fields are scalars with a JSON type of their own, objects, and lists of these.
"""

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, GraphQLOutputType, GraphQLScalarType, get_named_type

from gateway.blueprint import Link
from gateway.contract.shape import LEAVES, ObjectForm, Shape, object_type
from gateway.document.selection import TYPENAME, Parts, Selected
from gateway.plan.nodes import Hops, Node

MAX_LEVELS = 3
"""The limit of nested objects: the generated code of the projection has nested loops for them, and Python allows 20 nested blocks."""

_KEYS = frozenset({"Int", "String", "ID"})
LinkNodes = Mapping[tuple[int, Hops, str, str], int]


class _ShapelessError(Exception):
    """A selection contains something that a shape cannot express; the reply is then decoded as plain JSON."""


def with_shapes(nodes: Sequence[Node], links: LinkNodes, values: Mapping[int, list[Selected]]) -> tuple[Node, ...]:
    """Return the nodes of a plan with their shapes; ``values`` are the selections of the value of each node."""
    read = {index for node in nodes for index in (*node.substitutes.values(), *(() if node.use else node.needs))}
    forms: dict[int, ObjectForm] = {}
    return tuple(
        replace(node, shape=_shape_of(node, nodes, links, values[node.index][0], forms))
        if len(values.get(node.index, ())) == 1 and node.index not in read and _is_used_unchanged(node)
        else node
        for node in nodes
    )


def _is_used_unchanged(node: Node) -> bool:
    """Tell whether a node's value is the reply to its call as it is, and belongs to this request alone."""
    step = node.step
    is_kept = step.lifetime is not None or step.is_deduplicated or node.is_shared
    return step.takes_shape and not (step.select or step.fallbacks or is_kept)


def _shape_of(
    node: Node, nodes: Sequence[Node], links: LinkNodes, selected: Selected, forms: dict[int, ObjectForm]
) -> Shape | None:
    """Return the shape of a node's reply, or None. The reply to a link's batch is a list of objects, those of all keys."""
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
    """Builds the types of one shape. ``match`` are the fields by which a link matches the objects of a batch with its keys."""

    node: int
    nodes: Sequence[Node]
    links: LinkNodes
    match: tuple[str, ...]
    forms: dict[int, ObjectForm]
    """The object types of this shape and of the shapes before it in the plan."""

    def complete(self, declared: GraphQLOutputType, parts: Parts, hops: Hops) -> Any:
        """Return the Python type for a GraphQL type, with None if it is nullable."""
        if isinstance(declared, GraphQLNonNull):
            return self.inner(declared.of_type, parts, hops)
        return self.inner(declared, parts, hops) | None

    def inner(self, inner: GraphQLOutputType, parts: Parts, hops: Hops) -> Any:
        """Return the Python type for a GraphQL type without its non-null marker."""
        if isinstance(inner, GraphQLList):
            # A list of lists needs two loops for one level of objects, which MAX_LEVELS does not count.
            if str(inner).startswith("[["):
                raise _ShapelessError
            return tuple[self.complete(inner.of_type, parts, hops), ...]  # type: ignore[misc]
        if isinstance(inner, GraphQLObjectType):
            return self.form(inner, parts[inner.name], hops).type
        return _leaf(inner)

    def form(self, declared: GraphQLObjectType, selection: tuple[Selected, ...], hops: Hops) -> ObjectForm:
        """Return the object type for a selection: its fields, and the key fields that links read.

        It is the answer as it is (``is_answer``) if its JSON is exactly the response: no aliases, ``__typename`` or additional key fields.
        """
        # Forms are found by the `id` of their selection. One that occurs twice has a form already, whose key fields may differ.
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
                field_type = self.complete(part.type, part.parts, (*hops, part.name))
                fields[part.name] = (part.name, field_type, isinstance(part.type, GraphQLNonNull))
                is_answer = is_answer and self.is_answer(part)
            is_answer = is_answer and part.key == part.name
        described = [*fields.values(), *((name, _key_type(declared, name), False) for name in keys if name not in fields)]
        is_answer = is_answer and len(described) == len(fields)
        form = self.forms[id(selection)] = ObjectForm(object_type(declared.name, described), is_answer=is_answer)
        return form

    def is_answer(self, part: Selected) -> bool:
        """Tell whether the decoded value of a field is the response as it is. An ID may be a number, which still has to become a string."""
        named = get_named_type(part.type)
        return all(self.forms[id(selection)].is_answer for selection in part.parts.values()) if part.parts else named.name != "ID"

    def link(self, declared: GraphQLObjectType, part: Selected, hops: Hops) -> Link | None:
        """Return the link of a field, if it has one."""
        index = self.links.get((self.node, hops, f"{declared.name}.{part.name}", part.arguments))
        use = self.nodes[index].use if index is not None else None
        return use.link if use else None


def _leaf(declared: GraphQLOutputType) -> Any:
    if isinstance(declared, GraphQLScalarType) and declared.name in LEAVES:
        return LEAVES[declared.name]
    raise _ShapelessError


def _key_of(link: Link, declared: GraphQLObjectType, part: Selected) -> str:
    """Return the field of the parent object that is the key of a link."""
    name = link.single
    if name is None or not link.match or isinstance(part.type, GraphQLNonNull):
        raise _ShapelessError
    _key_type(declared, name)
    return name


def _key_type(declared: GraphQLObjectType, name: str) -> Any:
    """Return the type of a key field. Decoded values must keep the text that the upstream has sent; a Float may not: 1 becomes 1.0."""
    leaf = str(declared.fields[name].type).removesuffix("!") if name in declared.fields else ""
    if leaf not in _KEYS or keyword.iskeyword(name):
        raise _ShapelessError
    return LEAVES[leaf]
