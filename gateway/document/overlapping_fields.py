"""An otherwise valid document → the fields that cannot be merged into one response key (GraphQL spec 5.3.2).

graphql-core compares every pair of fields of a key: a query of two kilobytes can take it a second. Here all fields of a key are compared with
the first one, and the selection sets below them are merged and checked together, as described by S. Adameit ("Overlapping fields can be merged
fast").
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

from gateway.document.budget import PlanningBudget
from gateway.document.selection import META_FIELDS


@dataclass(frozen=True, slots=True)
class _Field:
    """A field node, the type that it is selected on, and the type of its value."""

    node: FieldNode
    parent: GraphQLNamedType
    type: GraphQLOutputType


_Sets = Mapping[int, tuple[GraphQLNamedType, SelectionSetNode]]
"""Selection sets that apply to the same object, by their ``id``, each with its type."""


def conflicts(schema: GraphQLSchema, document: DocumentNode, budget: PlanningBudget) -> Iterator[GraphQLError]:
    """Yield an error for each response key with fields that cannot be merged.

    :raises RequestError: the budget is spent.
    """
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    merging = _Merging(schema, fragments, budget)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            root = schema.get_root_type(node.operation)
            assert root is not None
            sets = {id(node.selection_set): (root, node.selection_set)}
            yield from list(merging.field_conflicts(sets)) or merging.shape_conflicts(sets)


@dataclass(slots=True)
class _Merging:
    """The state of a check. Each combination of selection sets is checked only once: fragments would repeat them exponentially often."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    budget: PlanningBudget
    collected: dict[frozenset[int], dict[str, list[_Field]]] = field(default_factory=dict)
    shapes: set[frozenset[int]] = field(default_factory=set)
    checked: set[frozenset[int]] = field(default_factory=set)
    argument_texts: dict[int, dict[str, str]] = field(default_factory=dict)
    """The arguments by the ``id`` of their field node; equal arguments have equal texts."""

    def shape_conflicts(self, sets: _Sets) -> Iterator[GraphQLError]:
        """Yield conflicts of types: they must be alike even where only one of the fields can apply (SameResponseShape)."""
        if (identity := frozenset(sets)) in self.shapes:
            return
        self.shapes.add(identity)
        for key, fields in self._fields(sets).items():
            typed = [
                item for item in fields if item.node.name.value not in META_FIELDS
            ]  # graphql-core does not compare the types of these
            shape = _shape(typed[0].type) if typed else ""
            other = next((item for item in typed if item.type is not typed[0].type and _shape(item.type) != shape), None)
            if other is not None:
                yield _conflict(key, f"they return conflicting types '{typed[0].type}' and '{other.type}'", typed[0], other)
            else:
                yield from self.shape_conflicts(_subselections(fields))

    def field_conflicts(self, sets: _Sets) -> Iterator[GraphQLError]:
        """Yield conflicts between fields that may apply to the same object (FieldsInSetCanMerge)."""
        if (identity := frozenset(sets)) in self.checked:
            return
        self.checked.add(identity)
        for key, fields in self._fields(sets).items():
            for group in _groups_by_object(fields):
                first = group[0]
                reasons = ((self._difference(first, other), other) for other in group[1:])
                conflict = next(((reason, other) for reason, other in reasons if reason), None)
                if conflict is not None:
                    yield _conflict(key, conflict[0], first, conflict[1])
                else:
                    yield from self.field_conflicts(_subselections(group))

    def _difference(self, first: _Field, other: _Field) -> str:
        """Return why two fields cannot be merged, or an empty string."""
        if first.node.name.value != other.node.name.value:
            return f"'{first.node.name.value}' and '{other.node.name.value}' are different fields"
        return "they have differing arguments" if self._arguments(first.node) != self._arguments(other.node) else ""

    def _arguments(self, node: FieldNode) -> dict[str, str]:
        if not node.arguments:
            return {}
        if id(node) not in self.argument_texts:
            self.argument_texts[id(node)] = {argument.name.value: _canonical_text(argument.value) for argument in node.arguments}
        return self.argument_texts[id(node)]

    def _fields(self, sets: _Sets) -> dict[str, list[_Field]]:
        """Return the fields of selection sets by response key, with fragments expanded."""
        identity = frozenset(sets)
        if identity not in self.collected:
            groups: dict[str, list[_Field]] = {}
            visited: set[str] = set()
            for parent, selection_set in sets.values():
                for item in self._expand(parent, selection_set, visited):
                    groups.setdefault(item.node.alias.value if item.node.alias else item.node.name.value, []).append(item)
            self.collected[identity] = groups
        return self.collected[identity]

    def _expand(self, parent: GraphQLNamedType, selection_set: SelectionSetNode, visited: set[str]) -> Iterator[_Field]:
        self.budget.spend(len(selection_set.selections))
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                name = selection.name.value
                defined = META_FIELDS.get(name) or parent.fields[name]  # type: ignore[attr-defined]
                yield _Field(selection, parent, defined.type)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                inner = self.schema.type_map[condition.name.value] if condition else parent
                yield from self._expand(inner, selection.selection_set, visited)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in visited:
                visited.add(selection.name.value)
                fragment = self.fragments[selection.name.value]
                inner = self.schema.type_map[fragment.type_condition.name.value]
                yield from self._expand(inner, fragment.selection_set, visited)


def _subselections(fields: list[_Field]) -> _Sets:
    return {
        id(item.node.selection_set): (get_named_type(item.type), item.node.selection_set)
        for item in fields
        if item.node.selection_set is not None
    }


def _groups_by_object(fields: list[_Field]) -> Iterator[list[_Field]]:
    """Yield groups of fields that may apply to the same object: those of one object type, with those of all interfaces and unions."""
    # Fields of different object types never apply to the same object, so they are not compared.
    abstract = [item for item in fields if not is_object_type(item.parent)]
    concrete: dict[str, list[_Field]] = {}
    for item in fields:
        if is_object_type(item.parent):
            concrete.setdefault(item.parent.name, []).append(item)
    if not concrete:
        yield abstract
    for group in concrete.values():
        yield [*abstract, *group]


def _shape(returned: GraphQLOutputType) -> str:
    """Return the shape of a type as text: its lists and non-nulls, and the name of a leaf type. All objects are alike here."""
    named = get_named_type(returned)
    return str(returned).replace(named.name, "") if is_composite_type(named) else str(returned)


def _canonical_text(value: ValueNode) -> str:
    """Return a value as text, equal for equal values: the order of an object's fields is ignored."""
    match value:
        case ListValueNode():
            return f"[{','.join(_canonical_text(item) for item in value.values)}]"
        case ObjectValueNode():
            return f"{{{','.join(sorted(f'{part.name.value}:{_canonical_text(part.value)}' for part in value.fields))}}}"
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
