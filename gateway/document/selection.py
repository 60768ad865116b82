"""A validated operation definition → the selected fields, by response key and concrete type (GraphQL spec 6.3.2 CollectFields).

Fragments, aliases and repeated fields are merged, and ``@skip`` and ``@include`` are evaluated: later stages see one tree without conditions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TypeMetaFieldDef,
    TypeNameMetaFieldDef,
    VariableNode,
    Visitor,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_object_type,
    print_ast,
    visit,
)

from gateway.document.budget import PlanningBudget

TYPENAME = "__typename"
INTROSPECTION = ("__schema", "__type")
META_FIELDS = {TYPENAME: TypeNameMetaFieldDef, "__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}


@dataclass(frozen=True, slots=True)
class Selected:
    """One response key: the field, its arguments, its type, its nodes, and the fields selected of its value.

    ``arguments`` are as the document writes them, sorted by name, so that equal calls have equal texts.
    """

    key: str
    name: str
    arguments: str
    type: GraphQLOutputType
    nodes: tuple[FieldNode, ...]
    parts: "Parts"

    @property
    def node(self) -> FieldNode:
        """The first node; validation has made sure that all nodes have the same arguments."""
        return self.nodes[0]


class Parts(dict[str, tuple[Selected, ...]]):
    """The fields selected of a value, by its possible concrete types; empty for a leaf.

    Wherever the same selection sets apply to values of one type there is one object: what later stages find out about it once holds for all
    of these places. So their work grows with the document and the types, and not with the types to the power of the levels.
    """

    def __init__(self, parts: Mapping[str, tuple[Selected, ...]], *, is_abstract: bool) -> None:
        super().__init__(parts)
        self.is_abstract = is_abstract
        """Whether the declared type is an interface or union."""

    def types_with(self, part: Selected) -> tuple[str, ...]:
        """Return the concrete types that have this field with this very selection below it."""
        return self._types[part.name, id(part.parts)]

    @cached_property
    def _types(self) -> Mapping[tuple[str, int], tuple[str, ...]]:
        types: dict[tuple[str, int], dict[str, None]] = {}
        for type_name, fields in self.items():
            for part in fields:
                types.setdefault((part.name, id(part.parts)), {})[type_name] = None
        return {field: tuple(names) for field, names in types.items()}


NO_PARTS = Parts({}, is_abstract=False)


def condition_variables(document: DocumentNode) -> frozenset[str]:
    """Return the names of all variables that a ``@skip`` or ``@include`` of a document reads."""
    collector = _ConditionVariables()
    visit(document, collector)
    return frozenset(collector.names)


def field_names(document: DocumentNode) -> frozenset[str]:
    """Return the names of all fields of a document, at all depths."""
    collector = _FieldNames()
    visit(document, collector)
    return frozenset(collector.names)


def root_names(document: DocumentNode) -> frozenset[str]:
    """Return the names of the root fields of a valid document; ``@skip`` and ``@include`` are ignored."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    names: set[str] = set()
    open_sets = [node.selection_set for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    while open_sets:
        for node in open_sets.pop().selections:
            if isinstance(node, FieldNode):
                names.add(node.name.value)
            elif isinstance(node, FragmentSpreadNode):
                # Popped, so that a fragment is visited only once.
                open_sets += [fragments.pop(node.name.value).selection_set] if node.name.value in fragments else []
            elif isinstance(node, InlineFragmentNode):
                open_sets.append(node.selection_set)
    return frozenset(names)


class _FieldNames(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        self.names.add(node.name.value)


class _ConditionVariables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: object, *_: object) -> None:
        if node.name.value in {"skip", "include"}:  # type: ignore[attr-defined]
            values = (argument.value for argument in node.arguments or ())  # type: ignore[attr-defined]
            self.names.update(value.name.value for value in values if isinstance(value, VariableNode))


def select(
    schema: GraphQLSchema,
    document: DocumentNode,
    definition: OperationDefinitionNode,
    conditions: Mapping[str, object],
    budget: PlanningBudget,
) -> tuple[Selected, ...]:
    """Return the selected fields of the root type; ``conditions`` has the values of :func:`condition_variables`.

    :raises RequestError: the budget is spent.
    """
    root = schema.get_root_type(definition.operation)
    assert root is not None
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    return _Collector(schema, fragments, conditions, budget).fields(root, (definition.selection_set,))


class _Collector:
    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        conditions: Mapping[str, object],
        budget: PlanningBudget,
    ) -> None:
        self.schema = schema
        self.fragments = fragments
        self.conditions = conditions
        self.budget = budget
        self.seen: dict[tuple[str, tuple[int, ...]], tuple[Selected, ...]] = {}
        self.parts: dict[tuple[str, tuple[int, ...]], Parts] = {}
        self.arguments: dict[int, str] = {}

    def fields(self, parent: GraphQLObjectType, sets: tuple[SelectionSetNode, ...]) -> tuple[Selected, ...]:
        """Collect the fields of selection sets on one object type. Results are cached: nested fragments would repeat them exponentially often."""
        identity = (parent.name, tuple(id(selection_set) for selection_set in sets))
        if identity not in self.seen:
            groups: dict[str, list[FieldNode]] = {}
            visited: set[str] = set()
            for selection_set in sets:
                for node in self.nodes(parent, selection_set, visited):
                    groups.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
            self.seen[identity] = tuple(self.selected(parent, key, nodes) for key, nodes in groups.items())
        return self.seen[identity]

    def nodes(self, parent: GraphQLObjectType, selection_set: SelectionSetNode, visited: set[str]) -> Iterator[FieldNode]:
        self.budget.spend(len(selection_set.selections))
        for selection in selection_set.selections:
            if not self.is_included(selection):
                continue
            if isinstance(selection, FieldNode):
                yield selection
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                if condition is None or self.applies(condition.name.value, parent):
                    yield from self.nodes(parent, selection.selection_set, visited)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in visited:
                visited.add(selection.name.value)
                fragment = self.fragments[selection.name.value]
                if self.applies(fragment.type_condition.name.value, parent):
                    yield from self.nodes(parent, fragment.selection_set, visited)

    def selected(self, parent: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> Selected:
        name = nodes[0].name.value
        field = META_FIELDS.get(name) or parent.fields[name]
        named = get_named_type(field.type)
        is_composite = is_composite_type(named) and name not in INTROSPECTION
        parts = (
            self.parts_of(named, tuple(node.selection_set for node in nodes if node.selection_set)) if is_composite else NO_PARTS
        )
        return Selected(key, name, self.written_arguments(nodes[0]), field.type, tuple(nodes), parts)

    def parts_of(self, named: GraphQLNamedType, sets: tuple[SelectionSetNode, ...]) -> Parts:
        identity = (named.name, tuple(id(selection_set) for selection_set in sets))
        if identity not in self.parts:
            fields = {possible.name: self.fields(possible, sets) for possible in self.possible(named)}
            self.parts[identity] = Parts(fields, is_abstract=is_abstract_type(named))
        return self.parts[identity]

    def written_arguments(self, node: FieldNode) -> str:
        if not node.arguments:
            return ""
        if id(node) not in self.arguments:
            written = sorted(f"{argument.name.value}: {print_ast(argument.value)}" for argument in node.arguments)
            self.arguments[id(node)] = ", ".join(written)
        return self.arguments[id(node)]

    def possible(self, named: GraphQLNamedType) -> list[GraphQLObjectType]:
        if is_object_type(named):
            return [named]
        assert is_abstract_type(named)
        return list(self.schema.get_possible_types(named))

    def applies(self, condition: str, parent: GraphQLObjectType) -> bool:
        if condition == parent.name:
            return True
        named = self.schema.get_type(condition)
        return isinstance(named, GraphQLAbstractType) and self.schema.is_sub_type(named, parent)

    def is_included(self, selection: object) -> bool:
        for directive in selection.directives or ():  # type: ignore[attr-defined]
            if directive.name.value in {"skip", "include"}:
                value = directive.arguments[0].value
                given = self.conditions[value.name.value] if isinstance(value, VariableNode) else value.value
                if given is (directive.name.value == "skip"):
                    return False
        return True
