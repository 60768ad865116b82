"""A definition and the conditions of a request → its plan, with all that is made of a plan once; kept for the requests that come after."""

import math
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    execute,
)

from gateway.answer.projection import Projection, compile_projection
from gateway.blueprint import Blueprint
from gateway.document.coercion import NO_VARIABLES, ArgumentCoercion, Arguments, Variables, told
from gateway.document.document import Definition, Document, too_deep
from gateway.document.selection import INTROSPECTION, select
from gateway.errors import Code, RequestError
from gateway.plan.cost import Cost, cost_of
from gateway.plan.nodes import Plan
from gateway.plan.planner import plan
from gateway.telemetry.counters import StepMeter
from gateway.telemetry.telemetry import Telemetry

MAX_PLANS = 64
"""How many plans of one definition are kept; of what is not asked for any more the oldest goes first."""


@dataclass(slots=True)
class CompiledPlan:
    """One operation definition under one set of conditions: its plan, its projection, its arguments, and its introspection fields."""

    plan: Plan
    project: Projection
    calls: tuple[ArgumentCoercion, ...]
    links: Mapping[int, ArgumentCoercion]
    introspection: DocumentNode | None
    cost: Cost
    deadline: float
    """Seconds from the arrival of a request after which there is no use in beginning with it."""
    operations: tuple[str, ...] = ()
    """The names of the operations that are asked for."""
    meters: tuple[StepMeter, ...] = ()
    """What counts the steps of its nodes."""
    is_constant: bool = False
    """Whether all its requests have the same answer."""
    is_shaped: bool = False
    """Whether an answer may have objects in it that were read by a shape."""
    fixed: Arguments | None = None
    """The arguments, where the definition has no variables and so they are the same in all requests."""
    answer: bytes | None = None
    """That answer in JSON text, once it is known."""

    def arguments(self, variables: Variables) -> Arguments:
        """Return the coerced arguments of operation calls and links.

        :raises RequestError: a variable is null where the argument may not be.
        """
        calls, links = [coerce(variables) for coerce in self.calls], self.links
        return Arguments(calls, {index: coerce(variables) for index, coerce in links.items()} if links else {})


PlansOfDefinition = dict[tuple[object, ...], CompiledPlan]
"""The plans of one definition by the values of its conditions and its effective operations."""


@dataclass(frozen=True, slots=True)
class Plans:
    """Makes plans for one blueprint and its schema, and keeps them for as long as the definitions that they are made of."""

    blueprint: Blueprint
    schema: GraphQLSchema
    is_development: bool
    telemetry: Telemetry = field(default_factory=Telemetry)
    _kept: MutableMapping[Definition, PlansOfDefinition] = field(default_factory=WeakKeyDictionary)

    @property
    def is_introspective(self) -> bool:
        """Whether clients may ask for the schema."""
        allowed = self.blueprint.limits.introspection
        return self.is_development if allowed is None else allowed

    def of(self, definition: Definition) -> Mapping[tuple[object, ...], CompiledPlan]:
        """Return the plans of a definition that are kept."""
        return self._kept.get(definition, {})

    def forget(self, definition: Definition) -> None:
        """Let go of the plans of a definition."""
        self._kept.pop(definition, None)

    def plan(self, definition: Definition, variables: Variables, effective: Blueprint | None = None) -> CompiledPlan:
        """Return the plan of a definition under the conditions that its variables set; each is made once.

        ``effective`` is the blueprint as it holds for the request; left out: the one without overlays.
        """
        blueprint = effective or self.blueprint
        identity: tuple[object, ...] = ()
        if definition.conditions or definition.overlaid:
            identity = (
                *(variables.coerced.get(name) for name in definition.conditions),
                *(blueprint.operations[name] for name in definition.overlaid),
            )
        kept = self._kept.get(definition)
        if kept is None:
            kept = self._kept[definition] = {}
        planned = kept.get(identity)
        if planned is None:
            if len(kept) >= MAX_PLANS:
                del kept[next(iter(kept))]
            try:
                planned = kept[identity] = self._plan(definition, variables, blueprint)
            except RecursionError:
                raise too_deep() from None
        return planned

    def plan_again(self, document: Document, earlier: "Plans", old_document: Document) -> None:
        """Make the plans that the document of the same text had in an earlier generation, overlays left aside."""
        if document.mistakes:
            return
        for definition, old in zip(document.definitions, old_document.definitions, strict=True):
            for identity in list(earlier.of(old)):
                values = dict(zip(old.conditions, identity[: len(old.conditions)], strict=True))
                with suppress(RequestError):
                    self.plan(definition, Variables.of_conditions(values))

    def _plan(self, definition: Definition, variables: Variables, blueprint: Blueprint) -> CompiledPlan:
        conditions = {name: variables.coerced.get(name) for name in definition.conditions}
        for name, value in conditions.items():
            if not isinstance(value, bool):
                raise RequestError(Code.BAD_USER_INPUT, 400, {"message": f"The variable '${name}' of a condition is null."})
        selection = select(self.schema, definition.document, definition.node, conditions)
        asks_for_schema = any(selected.name in INTROSPECTION for selected in selection)
        if asks_for_schema and not self.is_introspective:
            message = "Introspection is switched off."
            raise RequestError(Code.INTROSPECTION_DISABLED, 403, {"message": message})
        made = plan(blueprint, selection, is_mutation=definition.is_mutation)
        introspection = None
        if asks_for_schema:
            nodes = tuple(node for selected in selection if selected.name in INTROSPECTION for node in selected.nodes)
            introspection = _introspection_document(definition, nodes)
        root = "Mutation" if made.is_mutation else "Query"
        calls = tuple(self._arguments(root, call.field) for call in made.calls)
        links = {
            node.index: self._arguments(node.use.link.type, node.use.field)
            for node in made.nodes
            if node.use and node.use.link.arguments
        }
        cost = cost_of(made, self.schema.type_map, self.blueprint.limits.list_size)
        names = tuple(call.operation.name for call in made.calls)
        deadline = max((call.deadline for call in made.calls), default=math.inf)
        meters = self.telemetry.meters(made)
        is_constant = made.is_constant and introspection is None and not definition.node.variable_definitions
        project = compile_projection(made)
        is_shaped = any(node.shape for node in made.nodes)
        planned = CompiledPlan(made, project, calls, links, introspection, cost, deadline, names, meters, is_constant, is_shaped)
        if not definition.node.variable_definitions:
            with suppress(RequestError):  # which each request is told when it asks for its arguments
                planned.fixed = planned.arguments(NO_VARIABLES)
        return planned

    def _arguments(self, owner: str, node: FieldNode) -> ArgumentCoercion:
        return ArgumentCoercion(self.schema.type_map[owner].fields[node.name.value], node)  # type: ignore[attr-defined]

    def introspect(self, planned: CompiledPlan, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the values of the introspection fields by response key; graphql-core answers them."""
        if planned.introspection is None:
            return {}
        result = execute(self.schema, planned.introspection, variable_values=dict(values))
        assert isinstance(result, ExecutionResult)
        if result.errors or result.data is None:
            raise RequestError(Code.BAD_USER_INPUT, 400, *(told(error) for error in result.errors or ()))
        return result.data


def _introspection_document(definition: Definition, nodes: tuple[FieldNode, ...]) -> DocumentNode:
    """Return the part of a document that asks for the schema, as a document of its own."""
    fragments = (node for node in definition.document.definitions if isinstance(node, FragmentDefinitionNode))
    only = OperationDefinitionNode(
        operation=definition.node.operation,
        variable_definitions=definition.node.variable_definitions,
        selection_set=SelectionSetNode(selections=nodes),
    )
    return DocumentNode(definitions=(only, *fragments))
