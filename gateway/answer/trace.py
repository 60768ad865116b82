"""Results → ``extensions.trace``: when each node ran and waited, the critical path, and the slack of each node."""

from gateway.answer.completeness import reason_of
from gateway.contract.outcome import Outcome, Success
from gateway.plan.nodes import Node, Plan
from gateway.run import Results
from gateway.run.joins import LinkResult


def trace(plan: Plan, results: Results, arrived_at: float, now: float) -> dict[str, object]:
    """Return ``extensions.trace``: for each node its start, wait and run times, and the number and times of its attempts.

    Points in time are milliseconds from the arrival of the request. ``reason`` is why a node has no value, or none of its own.
    ``critical_path`` is the chain of nodes that the response waited for: each is the one that ended last among the prerequisites of the
    next. ``slack_ms`` is how much longer a node could have taken without delaying the response.
    """
    latest = _latest_ends(plan, results)
    path = _critical_path(plan, results)
    nodes = []
    for node in plan.nodes:
        outcome = results.outcomes[node.index]
        if outcome is not None:
            entry = _trace_node(node, results, arrived_at, latest[node.index])
            nodes.append({**entry, "is_critical": node.index in path, **_reason(outcome)})
    return {
        "duration_ms": _ms(now - arrived_at),
        "critical_path": [plan.nodes[index].step.name for index in path],
        "nodes": nodes,
    }


def _trace_node(node: Node, results: Results, arrived_at: float, latest_end: float) -> dict[str, object]:
    span = results.spans[node.index]
    ended = span.ended if span.ended is not None else arrived_at
    ready = span.ready if span.ready is not None else ended
    context = span.context
    waited = context.queued if context else 0.0
    if context and context.waiting_since is not None:  # the deadline ended it while it was waiting in a queue
        waited += ended - context.waiting_since
    events: dict[str, list[float]] = {}
    for name, at in context.events if context else ():
        events.setdefault(f"{name}_ms", []).append(_ms(at - arrived_at))
    return {
        "id": node.index + 1,
        "step": node.step.name,
        "start_ms": _ms(ready - arrived_at),
        "wait_ms": _ms(waited),
        "run_ms": _ms(ended - ready - waited),
        "duration_ms": _ms(ended - ready),
        "attempts": context.attempts if context else 0,
        **events,
        "outcome": type(results.outcomes[node.index]).__name__.lower(),
        "slack_ms": _ms(max(0.0, latest_end - ended)),
    }


def _reason(outcome: Outcome) -> dict[str, object]:
    """Return why a node has no value, or why its value came from a fallback, and from which one."""
    if not isinstance(outcome, Success):
        return {"reason": reason_of(outcome)}
    if outcome.instead_of is not None:
        return {"reason": reason_of(outcome.instead_of), "served_by": outcome.served_by}
    failure = outcome.value.failure if isinstance(outcome.value, LinkResult) else None
    return {"reason": reason_of(failure)} if failure is not None else {}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _critical_path(plan: Plan, results: Results) -> list[int]:
    """Walk back from the node that ended last, each time to the predecessor that ended last.

    The predecessors of a node are its prerequisites, and the fallbacks that it waited for; those of such a fallback include the
    prerequisites of its primary.
    """
    ended = {index: span.ended for index, span in enumerate(results.spans) if span.ended is not None}
    path: list[int] = []
    current = max(ended, key=lambda index: ended[index], default=None)
    inherited: tuple[int, ...] = ()
    while current is not None and current not in path:
        path.append(current)
        node = plan.nodes[current]
        prerequisites = (*node.prerequisites, *inherited)
        fallbacks = tuple(index for index in results.fallbacks.get(current, ()) if index in ended)
        inherited = prerequisites if fallbacks else ()
        before = fallbacks or tuple(index for index in prerequisites if index in ended)
        current = max(before, key=lambda index: ended[index], default=None)
    return path[::-1]


def _latest_ends(plan: Plan, results: Results) -> list[float]:
    """Return the latest time at which each node could have ended without delaying the response (the backward pass of CPM)."""
    spans = results.spans
    ends = [span.ended or 0.0 for span in spans]
    latest = [max(ends, default=0.0)] * len(ends)
    # In order of end times and not of the plan: a fallback ends before the node that waits for it, but may stand after it in the plan.
    for index in sorted(range(len(ends)), key=lambda index: (ends[index], index), reverse=True):
        node = plan.nodes[index]
        duration = ends[index] - (spans[index].ready or ends[index])
        for other in node.prerequisites:
            latest[other] = min(latest[other], latest[index] - duration)
        for other in results.fallbacks.get(index, ()):
            latest[other] = min(latest[other], latest[index])
    return latest
