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
from gateway.document.budget import PlanningBudget
from gateway.document.coercion import NO_VARIABLES, ArgumentCoercion, Arguments, Variables, format_error
from gateway.document.document import Definition, too_deep
from gateway.document.selection import INTROSPECTION, select
from gateway.errors import Code, RequestError
from gateway.plan.cost import Cost, cost_of
from gateway.plan.nodes import Plan
from gateway.plan.planner import plan
from gateway.telemetry.counters import StepMeter
from gateway.telemetry.telemetry import Telemetry

MAX_PLANS = 64
"""How many plans of one definition are kept; of what is not asked for any more the oldest goes first."""
BYTES_PER_PLAN, BYTES_PER_NODE, BYTES_PER_UNIT = 5000, 2000, 130
"""What a plan takes in memory, measured: in any case, for each node, and for each unit of the work to make it."""


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
    size: int = 0
    """About how many bytes it takes in memory."""
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

    def cached_conditions(self, definition: Definition) -> list[Mapping[str, object]]:
        """Return the values of the conditions of the cached plans of a definition."""
        return [dict(zip(definition.conditions, identity, strict=False)) for identity in self.cached_plans(definition)]

    @property
    def is_traceable(self) -> bool:
        """Whether clients may ask for the trace of their request."""
        allowed = self.blueprint.limits.trace
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

        :raises RequestError: as :meth:`create` does.
        """
        planned = self.find(definition, variables, effective)
        if planned is None:
            planned = self.create(definition, variables, effective, PlanningBudget(self.blueprint.limits))
            self.keep(definition, variables, effective, planned)
        return planned

    def find(self, definition: Definition, variables: Variables, effective: Blueprint | None = None) -> CompiledPlan | None:
        """Return a plan from the cache, None if it is not there."""
        cached = self._cache.get(definition)
        if cached is None:
            return None
        is_one = not (definition.conditions or definition.overlaid)  # the most frequent case: saves a call
        return cached.get(() if is_one else self.identity(definition, variables, effective))

    def identity(self, definition: Definition, variables: Variables, effective: Blueprint | None) -> tuple[object, ...]:
        """Return what tells the plans of a definition apart: the values of its conditions and its effective operations."""
        if not (definition.conditions or definition.overlaid):
            return ()
        operations = (effective or self.blueprint).operations
        conditions = (variables.coerced.get(name) for name in definition.conditions)
        return *conditions, *(operations[name] for name in definition.overlaid)

    def keep(self, definition: Definition, variables: Variables, effective: Blueprint | None, planned: CompiledPlan) -> int:
        """Put a plan into the cache; return by how many bytes the cache of this definition has grown."""
        planned.meters = self.telemetry.meters(planned.plan)
        cached = self._cache.setdefault(definition, {})
        replaced = cached.pop(next(iter(cached))).size if len(cached) >= MAX_PLANS else 0
        cached[self.identity(definition, variables, effective)] = planned
        return planned.size - replaced

    def create(
        self, definition: Definition, variables: Variables, effective: Blueprint | None, budget: PlanningBudget
    ) -> CompiledPlan:
        """Create a plan. This can be done in any thread.

        :raises RequestError: a variable of a condition is null, introspection is disabled, the document is nested too deep, or the budget is
            spent.
        """
        try:
            return self._create(definition, variables, effective or self.blueprint, budget)
        except RecursionError:
            raise too_deep() from None

    def _create(self, definition: Definition, variables: Variables, blueprint: Blueprint, budget: PlanningBudget) -> CompiledPlan:
        conditions = {name: variables.coerced.get(name) for name in definition.conditions}
        for name, value in conditions.items():
            if not isinstance(value, bool):
                raise RequestError(Code.BAD_USER_INPUT, 400, {"message": f"The variable '${name}' of a condition is null."})
        selection = select(self.schema, definition.document, definition.node, conditions, budget)
        asks_for_schema = any(selected.name in INTROSPECTION for selected in selection)
        if asks_for_schema and not self.is_introspective:
            message = "Introspection is switched off."
            raise RequestError(Code.INTROSPECTION_DISABLED, 403, {"message": message})
        new_plan = plan(blueprint, selection, budget, is_mutation=definition.is_mutation)
        introspection = None
        if asks_for_schema:
            nodes = tuple(node for selected in selection if selected.name in INTROSPECTION for node in selected.nodes)
            introspection = _introspection_document(definition, nodes)
        root = "Mutation" if new_plan.is_mutation else "Query"
        links = {
            node.index: self._arguments(node.use.link.type, node.use.field)
            for node in new_plan.nodes
            if node.use and node.use.link.arguments
        }
        planned = CompiledPlan(
            plan=new_plan,
            project=compile_projection(new_plan, budget),
            calls=tuple(self._arguments(root, call.field) for call in new_plan.calls),
            links=links,
            introspection=introspection,
            cost=cost_of(new_plan, self.schema.type_map, self.blueprint.limits.list_size),
            deadline=max((call.deadline for call in new_plan.calls), default=math.inf),
            operations=tuple(call.operation.name for call in new_plan.calls),
            is_constant=new_plan.is_constant and introspection is None and not definition.node.variable_definitions,
            is_shaped=any(node.shape for node in new_plan.nodes),
        )
        if not definition.node.variable_definitions:
            with suppress(RequestError):  # raised again for each request, when it coerces its arguments
                planned.constant_arguments = planned.arguments(NO_VARIABLES)
        planned.size = BYTES_PER_PLAN + BYTES_PER_NODE * len(new_plan.nodes) + BYTES_PER_UNIT * budget.spent
        budget.report()
        return planned

    def _arguments(self, owner: str, node: FieldNode) -> ArgumentCoercion:
        declared = self.schema.type_map[owner].fields[node.name.value]  # type: ignore[attr-defined]
        limits, largest = self.blueprint.limits, self.blueprint.server.max_request_bytes
        return ArgumentCoercion(declared, node, limits.max_values if limits.mode == "enforce" else largest, largest)

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
