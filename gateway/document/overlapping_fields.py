"""A document that is valid otherwise → the fields that cannot be merged into one response key (GraphQL spec 5.3.2).

graphql-core compares each field with each other of its key: a query of two kilobytes can take it a second. Here the fields of a key are put
side by side once, as S. Adameit has described it ("Overlapping fields can be merged fast"), and the selection sets below them together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLNamedType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_composite_type,
    is_object_type,
)

from gateway.document.selection import META_FIELDS


@dataclass(frozen=True, slots=True)
class _Field:
    """A field where it stands: of which type it is asked, and what type it has."""

    node: FieldNode
    parent: GraphQLNamedType
    type: GraphQLOutputType


_Sets = Mapping[int, tuple[GraphQLNamedType, SelectionSetNode]]
"""Selection sets that are answered by one object, by their identity, each with its type."""


def conflicts(schema: GraphQLSchema, document: DocumentNode) -> Iterator[GraphQLError]:
    """Yield an error for each response key that fields which differ would have to share."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    merging = _Merging(schema, fragments)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            root = schema.get_root_type(node.operation)
            assert root is not None
            sets = {id(node.selection_set): (root, node.selection_set)}
            yield from list(merging.unlike_fields(sets)) or merging.unlike_shapes(sets)


@dataclass(slots=True)
class _Merging:
    """What is known of a document; selection sets that stand together once more are not looked at again."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    collected: dict[frozenset[int], dict[str, list[_Field]]] = field(default_factory=dict)
    shapes: set[frozenset[int]] = field(default_factory=set)
    checked: set[frozenset[int]] = field(default_factory=set)
    written: dict[int, dict[str, str]] = field(default_factory=dict)
    """The arguments of fields, so that equal ones have equal texts."""

    def unlike_shapes(self, sets: _Sets) -> Iterator[GraphQLError]:
        """Yield conflicts of types: they must be alike even where only one of the fields can be answered (SameResponseShape)."""
        if (identity := frozenset(sets)) in self.shapes:
            return
        self.shapes.add(identity)
        for key, fields in self._fields(sets).items():
            typed = [found for found in fields if found.node.name.value not in META_FIELDS]  # of these nobody compares the types
            shape = _shape(typed[0].type) if typed else ""
            other = next((found for found in typed if found.type is not typed[0].type and _shape(found.type) != shape), None)
            if other is not None:
                yield _conflict(key, f"they return conflicting types '{typed[0].type}' and '{other.type}'", typed[0], other)
            else:
                yield from self.unlike_shapes(_below(fields))

    def unlike_fields(self, sets: _Sets) -> Iterator[GraphQLError]:
        """Yield conflicts between fields that one object may have to answer (FieldsInSetCanMerge)."""
        if (identity := frozenset(sets)) in self.checked:
            return
        self.checked.add(identity)
        for key, fields in self._fields(sets).items():
            for together in _by_object(fields):
                first = together[0]
                reasons = ((self._difference(first, other), other) for other in together[1:])
                found = next(((reason, other) for reason, other in reasons if reason), None)
                if found is not None:
                    yield _conflict(key, found[0], first, found[1])
                else:
                    yield from self.unlike_fields(_below(together))

    def _difference(self, first: _Field, other: _Field) -> str:
        """Return why two fields cannot be one, or nothing."""
        if first.node.name.value != other.node.name.value:
            return f"'{first.node.name.value}' and '{other.node.name.value}' are different fields"
        return "they have differing arguments" if self._arguments(first.node) != self._arguments(other.node) else ""

    def _arguments(self, node: FieldNode) -> dict[str, str]:
        if not node.arguments:
            return {}
        if id(node) not in self.written:
            self.written[id(node)] = {argument.name.value: _written(argument.value) for argument in node.arguments}
        return self.written[id(node)]

    def _fields(self, sets: _Sets) -> dict[str, list[_Field]]:
        """Return the fields of selection sets by response key, through fragments."""
        identity = frozenset(sets)
        if identity not in self.collected:
            groups: dict[str, list[_Field]] = {}
            visited: set[str] = set()
            for parent, selection_set in sets.values():
                for found in self._flat(parent, selection_set, visited):
                    groups.setdefault(found.node.alias.value if found.node.alias else found.node.name.value, []).append(found)
            self.collected[identity] = groups
        return self.collected[identity]

    def _flat(self, parent: GraphQLNamedType, selection_set: SelectionSetNode, visited: set[str]) -> Iterator[_Field]:
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                name = selection.name.value
                defined = META_FIELDS.get(name) or parent.fields[name]  # type: ignore[attr-defined]
                yield _Field(selection, parent, defined.type)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                inner = self.schema.type_map[condition.name.value] if condition else parent
                yield from self._flat(inner, selection.selection_set, visited)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in visited:
                visited.add(selection.name.value)
                fragment = self.fragments[selection.name.value]
                yield from self._flat(self.schema.type_map[fragment.type_condition.name.value], fragment.selection_set, visited)


def _below(fields: list[_Field]) -> _Sets:
    return {
        id(found.node.selection_set): (get_named_type(found.type), found.node.selection_set)
        for found in fields
        if found.node.selection_set is not None
    }


def _by_object(fields: list[_Field]) -> Iterator[list[_Field]]:
    """Yield the fields that one object may have to answer: those of its type, with those of interfaces and unions."""
    abstract = [found for found in fields if not is_object_type(found.parent)]
    concrete: dict[str, list[_Field]] = {}
    for found in fields:
        if is_object_type(found.parent):
            concrete.setdefault(found.parent.name, []).append(found)
    if not concrete:
        yield abstract
    for group in concrete.values():
        yield [*abstract, *group]


def _shape(returned: GraphQLOutputType) -> str:
    """Return what of a type a client sees whatever the value: lists, non-nulls, and the name of a leaf."""
    named = get_named_type(returned)
    return str(returned).replace(named.name, "") if is_composite_type(named) else str(returned)


def _written(value: ValueNode) -> str:
    """Write a value so that equal ones have equal texts: the order of an object's fields means nothing."""
    match value:
        case ListValueNode():
            return f"[{','.join(_written(item) for item in value.values)}]"
        case ObjectValueNode():
            return f"{{{','.join(sorted(f'{part.name.value}:{_written(part.value)}' for part in value.fields))}}}"
        case VariableNode():
            return f"${value.name.value}"
        case StringValueNode():
            return f"{value.block}{value.value!r}"
        case _:
            return f"{value.kind} {getattr(value, 'value', None)}"


def _conflict(key: str, reason: str, first: _Field, other: _Field) -> GraphQLError:
    message = (
        f"Fields '{key}' conflict because {reason}. Use different aliases on the fields to fetch both if this was intentional."
    )
    return GraphQLError(message, [first.node, other.node])
