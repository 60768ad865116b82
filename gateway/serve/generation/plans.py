"""A definition and the conditions of a request → its compiled plan, cached for later requests."""

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
from gateway.document.coercion import NO_VARIABLES, ArgumentCoercion, Arguments, Variables, format_error
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
    """Everything that is computed once for an operation definition under one set of conditions: plan, projection, arguments, introspection."""

    plan: Plan
    project: Projection
    calls: tuple[ArgumentCoercion, ...]
    links: Mapping[int, ArgumentCoercion]
    introspection: DocumentNode | None
    cost: Cost
    deadline: float
    """Seconds after the arrival of a request when it is too late to start: the longest deadline of its operations."""
    operations: tuple[str, ...] = ()
    """The names of the requested operations."""
    meters: tuple[StepMeter, ...] = ()
    """The counters of the steps of its nodes."""
    is_constant: bool = False
    """Whether all its requests have the same answer, which depends on no upstream and nothing of the request."""
    is_shaped: bool = False
    """Whether an answer may contain structs that were decoded by a shape."""
    constant_arguments: Arguments | None = None
    """The arguments of all requests, if the definition has no variables."""
    constant_answer: bytes | None = None
    """The answer of all requests as JSON text, if the plan is constant and has been run."""

    def arguments(self, variables: Variables) -> Arguments:
        """Return the coerced arguments of operation calls and links.

        :raises RequestError: a variable is null where the argument may not be.
        """
        calls, links = [coerce(variables) for coerce in self.calls], self.links
        return Arguments(calls, {index: coerce(variables) for index, coerce in links.items()} if links else {})


PlansOfDefinition = dict[tuple[object, ...], CompiledPlan]
"""The cached plans of one definition, by the values of its conditions and its effective operations."""


@dataclass(frozen=True, slots=True)
class Plans:
    """Creates the plans for one blueprint and its schema, and caches them.

    The cache has weak keys: a plan lives as long as its definition, that is, as long as the document cache of the generation keeps it.
    """

    blueprint: Blueprint
    schema: GraphQLSchema
    is_development: bool
    telemetry: Telemetry = field(default_factory=Telemetry)
    _cache: MutableMapping[Definition, PlansOfDefinition] = field(default_factory=WeakKeyDictionary)

    @property
    def is_introspective(self) -> bool:
        """Whether clients may use introspection."""
        allowed = self.blueprint.limits.introspection
        return self.is_development if allowed is None else allowed

    def cached_plans(self, definition: Definition) -> Mapping[tuple[object, ...], CompiledPlan]:
        """Return the cached plans of a definition."""
        return self._cache.get(definition, {})

    def forget(self, definition: Definition) -> None:
        """Drop the cached plans of a definition."""
        self._cache.pop(definition, None)

    def plan(self, definition: Definition, variables: Variables, effective: Blueprint | None = None) -> CompiledPlan:
        """Return the plan of a definition under the conditions that its variables set; each plan is created once.

        ``effective`` is the effective blueprint of the request; without it no overlay applies.

        :raises RequestError: a variable of a condition is null, introspection is disabled, or the document is nested too deep.
        """
        blueprint = effective or self.blueprint
        identity: tuple[object, ...] = ()
        if definition.conditions or definition.overlaid:
            identity = (
                *(variables.coerced.get(name) for name in definition.conditions),
                *(blueprint.operations[name] for name in definition.overlaid),
            )
        cached = self._cache.get(definition)
        if cached is None:
            cached = self._cache[definition] = {}
        planned = cached.get(identity)
        if planned is None:
            if len(cached) >= MAX_PLANS:
                del cached[next(iter(cached))]
            try:
                planned = cached[identity] = self._plan(definition, variables, blueprint)
            except RecursionError:
                raise too_deep() from None
        return planned

    def warm_up(self, document: Document, earlier: "Plans", old_document: Document) -> None:
        """Create the plans that the document of the same text had in an earlier generation, without those of overlays."""
        if document.mistakes:  # no longer valid under the new schema
            return
        for definition, old in zip(document.definitions, old_document.definitions, strict=True):
            for identity in list(earlier.cached_plans(old)):
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
        new_plan = plan(blueprint, selection, is_mutation=definition.is_mutation)
        introspection = None
        if asks_for_schema:
            nodes = tuple(node for selected in selection if selected.name in INTROSPECTION for node in selected.nodes)
            introspection = _introspection_document(definition, nodes)
        root = "Mutation" if new_plan.is_mutation else "Query"
        calls = tuple(self._arguments(root, call.field) for call in new_plan.calls)
        links = {
            node.index: self._arguments(node.use.link.type, node.use.field)
            for node in new_plan.nodes
            if node.use and node.use.link.arguments
        }
        cost = cost_of(new_plan, self.schema.type_map, self.blueprint.limits.list_size)
        names = tuple(call.operation.name for call in new_plan.calls)
        deadline = max((call.deadline for call in new_plan.calls), default=math.inf)
        meters = self.telemetry.meters(new_plan)
        is_constant = new_plan.is_constant and introspection is None and not definition.node.variable_definitions
        project = compile_projection(new_plan)
        is_shaped = any(node.shape for node in new_plan.nodes)
        planned = CompiledPlan(
            new_plan, project, calls, links, introspection, cost, deadline, names, meters, is_constant, is_shaped
        )
        if not definition.node.variable_definitions:
            with suppress(RequestError):  # raised again for each request, when it coerces its arguments
                planned.constant_arguments = planned.arguments(NO_VARIABLES)
        return planned

    def _arguments(self, owner: str, node: FieldNode) -> ArgumentCoercion:
        return ArgumentCoercion(self.schema.type_map[owner].fields[node.name.value], node)  # type: ignore[attr-defined]

    def introspect(self, planned: CompiledPlan, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the values of the introspection fields by response key; graphql-core resolves them.

        :raises RequestError: graphql-core reports errors.
        """
        if planned.introspection is None:
            return {}
        result = execute(self.schema, planned.introspection, variable_values=dict(values))
        assert isinstance(result, ExecutionResult)
        if result.errors or result.data is None:
            raise RequestError(Code.BAD_USER_INPUT, 400, *(format_error(error) for error in result.errors or ()))
        return result.data


def _introspection_document(definition: Definition, nodes: tuple[FieldNode, ...]) -> DocumentNode:
    """Return a document with only the introspection fields of a definition, and all fragments."""
    fragments = (node for node in definition.document.definitions if isinstance(node, FragmentDefinitionNode))
    operation = OperationDefinitionNode(
        operation=definition.node.operation,
        variable_definitions=definition.node.variable_definitions,
        selection_set=SelectionSetNode(selections=nodes),
    )
    return DocumentNode(definitions=(operation, *fragments))
