"""Plan a selection: the selected steps and all of their direct and indirect prerequisites, and nothing else (paper 5.3).

A plan has no conditions: ``@skip`` and ``@include`` were evaluated with the selection.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from gateway.blueprint import Blueprint, Operation, Step
from gateway.blueprint.graph import Graph, closure, fallback_only_steps, topological_order, written_order
from gateway.document.budget import PlanningBudget
from gateway.document.selection import INTROSPECTION, TYPENAME, Selected
from gateway.language.template import renderer
from gateway.plan.links import LinkPlanner, selected_origins
from gateway.plan.nodes import DraftedPlan, Node, OperationCall, Plan, Role, Root
from gateway.plan.shapes import with_shapes
from gateway.plan.upstream_selection import selection_text


@dataclass(slots=True)
class _CallDraft:
    """An operation call under construction: root fields with the same operation and arguments share it."""

    operation: Operation
    roots: list[Selected] = field(default_factory=list)

    @property
    def selected_steps(self) -> set[str]:
        """The names of the steps that fill selected fields. In a mutation all steps run, except those that are only fallbacks."""
        if self.operation.is_mutation:
            return self.operation.steps.keys() - fallback_only_steps(self.operation.steps)
        return {origin.step for root in self.roots for _, origin in selected_origins(self.operation.strategy, root)}


def plan(blueprint: Blueprint, selection: tuple[Selected, ...], budget: PlanningBudget, *, is_mutation: bool = False) -> Plan:
    """Return the plan of the selected root fields of one document. In a mutation each root field has an operation call of its own.

    :raises RequestError: the budget is spent.
    """
    drafts: dict[tuple[str, ...], _CallDraft] = {}
    order = []
    for selected in selection:
        if selected.name == TYPENAME or selected.name in INTROSPECTION:
            order.append(Root(selected, None))
            continue
        operation = blueprint.operations[selected.name]
        identity = (operation.name, selected.arguments, *((selected.key,) if is_mutation else ()))
        drafts.setdefault(identity, _CallDraft(operation)).roots.append(selected)
        order.append(Root(selected, list(drafts).index(identity)))
    drafted = DraftedPlan()
    calls = tuple(_plan_call(index, draft, blueprint, drafted, budget) for index, draft in enumerate(drafts.values()))
    with_selections = [_with_selection(node, drafted, blueprint, budget) for node in drafted.nodes]
    # Calls of a mutation are never shared. Shapes come last, as a shared node has none.
    nodes = with_shapes(with_selections if is_mutation else _mark_shared(with_selections), drafted.links, drafted.values)
    request_reads = tuple(dict.fromkeys(path for node in nodes for path in node.step.request_reads))
    reads_context = any(node.step.reads_context for node in nodes)
    is_immediate = not is_mutation and all(_is_immediate(node, calls[node.call].operation) for node in nodes)
    return Plan(
        roots=tuple(order),
        calls=calls,
        nodes=nodes,
        in_degrees=tuple(len(node.prerequisites) for node in nodes),
        dependents=_dependents(nodes),
        links=drafted.links,
        max_calls=blueprint.limits.max_calls,
        request_reads=request_reads,
        reads_context=reads_context,
        is_mutation=is_mutation,
        # Several operation calls have deadlines of their own, which one sequence of nodes could not keep.
        is_chain=is_immediate or (len(calls) == 1 and _is_chain(nodes)),
        is_immediate=is_immediate,
        is_constant=is_immediate and not (request_reads or reads_context),
        is_applicable=not any(call.not_applicable for call in calls),
    )


def _is_immediate(node: Node, operation: Operation) -> bool:
    """Tell whether a node never waits: for an upstream, an equal call, a place in its operation's ``concurrency``, or a fallback step."""
    step = node.step
    waits = step.calls_out or step.lifetime is not None or node.is_shared or node.use is not None
    return not (waits or node.substitutes or operation.concurrency)


def _is_chain(nodes: tuple[Node, ...]) -> bool:
    """Tell whether each node waits for the one before it, and ends at once when it is cancelled at the deadline (``cancels_promptly``)."""
    if any(node.is_lazy or node.is_shared or node.substitutes or not node.step.cancels_promptly for node in nodes):
        return False
    return all(before.index in node.prerequisites for before, node in itertools.pairwise(nodes))


def _dependents(nodes: tuple[Node, ...]) -> tuple[tuple[int, ...], ...]:
    """Return for each node the nodes that it is a prerequisite of."""
    dependents: list[list[int]] = [[] for _ in nodes]
    for node in nodes:
        for other in node.prerequisites:
            dependents[other].append(node.index)
    return tuple(map(tuple, dependents))


def _not_applicable(operation: Operation, roots: list[Selected]) -> tuple[str, ...]:
    """Return the steps of overlays that do not apply to this request, although fields of them are selected."""
    names = dict.fromkeys(part.name for root in roots for fields in root.parts.values() for part in fields)
    missing = operation.overlay_fields.keys() - operation.strategy.origins.keys()
    return tuple(dict.fromkeys(operation.overlay_fields[name].origin.step for name in names if name in missing))


def _plan_call(
    index: int, draft: _CallDraft, blueprint: Blueprint, drafted: DraftedPlan, budget: PlanningBudget
) -> OperationCall:
    """Append the nodes of an operation call to the draft, those of its steps before those of links; return the call."""
    operation, steps, first = draft.operation, draft.operation.steps, draft.roots[0]
    start = len(drafted.nodes)
    drafted.nodes += _step_nodes(index, draft, blueprint.deadline_of(operation), start)
    position = {node.step.name: node.index for node in drafted.nodes[start:]}
    LinkPlanner(index, operation, blueprint, drafted, budget).plan(draft.roots, position)
    nodes = drafted.nodes[start:]
    return OperationCall(
        index=index,
        operation=operation,
        field=first.node,
        arguments=first.arguments,
        nodes=tuple(node.index for node in nodes),
        eager=sum(not node.is_lazy for node in nodes),
        first=tuple(node.index for node in nodes if not (node.is_lazy or node.prerequisites)),
        pruned=tuple(name for name, step in steps.items() if name not in position and step.is_exposed),
        not_applicable=_not_applicable(operation, draft.roots),
        deadline=blueprint.deadline_of(operation),
    )


def _step_nodes(call: int, draft: _CallDraft, deadline: float, start: int) -> Iterator[Node]:
    """Yield the nodes of steps in topological order, and in file order where that leaves a choice."""
    steps = draft.operation.steps
    eager = closure(draft.selected_steps, lambda name: steps[name].prerequisites)
    chosen = closure(eager, lambda name: steps[name].prerequisites_with_fallbacks)
    # The steps of a mutation run one after the other, in the order in which they are written.
    before = written_order(_graph(steps, eager)) if draft.operation.is_mutation else {}
    position = {name: start + offset for offset, name in enumerate(_ordered(steps, chosen))}
    for name, index in position.items():
        step, is_lazy = steps[name], name not in eager
        yield Node(
            index=index,
            call=call,
            step=step,
            render=renderer(step.inputs),
            role=Role.FALLBACK if is_lazy else Role.REQUIRED if step.is_required else Role.OPTIONAL,
            needs=tuple(position[other] for other in step.needs),
            follows=tuple(position[other] for other in (*step.follows, *_also_after(step, before.get(name)))),
            substitutes={other: position[other] for other in step.fallback_steps},
            is_lazy=is_lazy,
            is_shared=False,
            deadline=deadline,
        )


def _graph(steps: Mapping[str, Step], chosen: set[str]) -> Graph:
    """Return the graph of the chosen steps and their prerequisites, in file order."""
    return {name: step.prerequisites for name, step in steps.items() if name in chosen}


def _also_after(step: Step, before: str | None) -> tuple[str, ...]:
    """Return the step of a mutation that is written before this one, unless it is a prerequisite anyway."""
    return () if before is None or before in step.prerequisites else (before,)


def _ordered(steps: Mapping[str, Step], chosen: set[str]) -> list[str]:
    """Sort steps topologically, and a fallback after the step that it replaces; where that leaves a choice, keep file order."""
    graph = _graph(steps, chosen)
    after: dict[str, list[str]] = {}
    for name in graph:
        for other in steps[name].fallback_steps:
            if other not in closure([name], graph.__getitem__):  # a step may itself depend on its fallback
                after.setdefault(other, []).append(name)
    return topological_order(graph, after)


def _with_selection(node: Node, drafted: DraftedPlan, blueprint: Blueprint, budget: PlanningBudget) -> Node:
    """Return the node with the selection set of its value, if its step type sends that upstream."""
    if not node.step.takes_selection:
        return node
    match = ((name,) for name in node.use.link.match) if node.use else ()
    selected = drafted.values.get(node.index, ())
    return replace(node, selection=selection_text(selected, (*node.step.read_by_others, *match), blueprint.links, budget))


def _mark_shared(nodes: list[Node]) -> tuple[Node, ...]:
    """Mark nodes that may make equal calls, which is known only when their inputs are rendered. The latest of their deadlines applies."""
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        if node.step.is_idempotent:
            groups.setdefault(node.step.fingerprint, []).append(node)
    latest = {fingerprint: max(node.deadline for node in group) for fingerprint, group in groups.items() if len(group) > 1}
    return tuple(
        replace(node, is_shared=True, deadline=latest[node.step.fingerprint])
        if node.step.is_idempotent and node.step.fingerprint in latest
        else node
        for node in nodes
    )
