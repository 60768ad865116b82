"""Outcomes → what the projection reads, and the word on what is missing, degraded or served by a fallback (paper 5.5)."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.contract.outcome import Failure, Outcome, Skipped, Success
from gateway.plan.nodes import Node, Plan
from gateway.run import Results
from gateway.run.joins import Found

NOT_APPLICABLE = "not_applicable"
"""Why a step of an overlay is missing from the answer to a request for which the overlay does not hold."""


def completeness(plan: Plan, results: Results, errors: Sequence[Mapping[str, Any]]) -> dict[str, object] | None:
    """Return ``extensions.completeness``, or None when everything is there and came from where it should.

    ``missing`` lists steps without a value, with the code of their failure or the reason why they were skipped, and those of whose
    value a part did not fit the schema; ``degraded`` those whose value a fallback gave, with what served it, and how old a stale
    one is. ``path`` is the root field's. ``errors`` are those of the response.
    """
    missing: list[dict[str, object]] = []
    degraded: list[dict[str, object]] = []
    for call in plan.calls:
        head = {"operation": call.operation.name, "path": [_first_key(plan, call.index)]}
        for node in (plan.nodes[index] for index in call.nodes):
            outcome = results.outcomes[node.index]
            entry = {**head, "step": node.step.name}
            if isinstance(outcome, Success):
                found = outcome.value if isinstance(outcome.value, Found) else None
                if found and found.failure is not None:
                    missing.append({**entry, "reason": _reason(found.failure)})
                served = found.served if found else outcome
                if served and served.instead_of is not None:
                    age = {"age_ms": round(served.age * 1000)} if served.age is not None else {}
                    degraded.append({**entry, "served_by": served.served_by, **age, "reason": _reason(served.instead_of)})
            elif outcome is not None and not node.is_lazy:
                missing.append({**entry, "reason": _reason(outcome)})
        missing += [{**head, "step": step, "reason": NOT_APPLICABLE} for step in call.not_applicable]
    missing += _parts(plan, errors, missing)
    if not missing and not degraded:
        return None
    return {"missing": missing, "degraded": degraded}


def _first_key(plan: Plan, call: int) -> str:
    return next(root.selected.key for root in plan.roots if root.call == call)


def _parts(plan: Plan, errors: Sequence[Mapping[str, Any]], missing: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return an entry for each step of whose value a part was left out: it did not fit the schema, or the upstream failed to give it."""
    names = {root.selected.key: root.selected.name for root in plan.roots}
    told = {(entry["path"][0], entry["step"]) for entry in missing}
    reasons = {(error["path"][0], error["extensions"]["step"]): error["extensions"]["code"] for error in reversed(errors)}
    return [
        {"operation": names[key], "path": [key], "step": step, "reason": reason}
        for (key, step), reason in reversed(reasons.items())
        if (key, step) not in told and not any(entry["step"] == step for entry in missing)
    ]


def _reason(outcome: Failure | Skipped) -> str:
    return str(outcome.code if isinstance(outcome, Failure) else outcome.reason)


def capped(errors: list[dict[str, object]], most: int) -> list[dict[str, object]]:
    """Return the first errors; the last of them says how many more there are."""
    if len(errors) <= most:
        return errors
    last = errors[most - 1]
    return [*errors[: most - 1], {**last, "message": f"{last['message']} ({len(errors) - most} more errors are left out.)"}]


def trace(plan: Plan, results: Results, arrived_at: float, now: float) -> dict[str, object]:
    """Return ``extensions.trace``: per node when it was ready, what it waited, how long it ran, how often and when it was tried.

    ``reason`` is why a node gave nothing, or no value of its own. All times are milliseconds from the arrival of the request.
    ``critical_path`` is the chain of nodes that the answer waited for, each the last to end of those that the next one needed;
    ``slack_ms`` is how much longer a node could have taken unnoticed.
    """
    latest = _latest_ends(plan, results)
    path = _critical_path(plan, results)
    nodes = []
    for node in plan.nodes:
        outcome = results.outcomes[node.index]
        if outcome is not None:
            entry = _trace_node(node, results, arrived_at, latest[node.index])
            nodes.append({**entry, "is_critical": node.index in path, **_why(outcome)})
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
    if context and context.waiting_since is not None:
        waited += ended - context.waiting_since
    retries = {"retries_ms": [_ms(at - arrived_at) for at in context.retried_at]} if context and context.retried_at else {}
    if context and context.hedged_at:
        retries["hedges_ms"] = [_ms(at - arrived_at) for at in context.hedged_at]
    return {
        "id": node.index + 1,
        "step": node.step.name,
        "start_ms": _ms(ready - arrived_at),
        "wait_ms": _ms(waited),
        "run_ms": _ms(ended - ready - waited),
        "duration_ms": _ms(ended - ready),
        "attempts": context.attempts if context else 0,
        **retries,
        "outcome": type(results.outcomes[node.index]).__name__.lower(),
        "slack_ms": _ms(max(0.0, latest_end - ended)),
    }


def _why(outcome: Outcome) -> dict[str, object]:
    """Return why a node gave nothing, or gave what a fallback gave, and which."""
    if not isinstance(outcome, Success):
        return {"reason": _reason(outcome)}
    if outcome.instead_of is not None:
        return {"reason": _reason(outcome.instead_of), "served_by": outcome.served_by}
    failure = outcome.value.failure if isinstance(outcome.value, Found) else None
    return {"reason": _reason(failure)} if failure is not None else {}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _critical_path(plan: Plan, results: Results) -> list[int]:
    """Walk back from the node that ended last, each time to the one before that ended last.

    Before a node come its prerequisites, and fallbacks that it waited for; before such a fallback also what its primary waited for.
    """
    ended = {index: span.ended for index, span in enumerate(results.spans) if span.ended is not None}
    path: list[int] = []
    current = max(ended, key=lambda index: ended[index], default=None)
    inherited: tuple[int, ...] = ()
    while current is not None and current not in path:
        path.append(current)
        node = plan.nodes[current]
        prerequisites = (*node.needs, *node.follows, *inherited)
        fallbacks = tuple(index for index in results.fallbacks.get(current, ()) if index in ended)
        inherited = prerequisites if fallbacks else ()
        before = fallbacks or tuple(index for index in prerequisites if index in ended)
        current = max(before, key=lambda index: ended[index], default=None)
    return path[::-1]


def _latest_ends(plan: Plan, results: Results) -> list[float]:
    """Return when each node could have ended at the latest without the answer being later (the backward pass of CPM)."""
    spans = results.spans
    ends = [span.ended or 0.0 for span in spans]
    latest = [max(ends, default=0.0)] * len(ends)
    # By end and not by place in the plan: a fallback ends before the node that waits for it, wherever it stands.
    for index in sorted(range(len(ends)), key=lambda index: (ends[index], index), reverse=True):
        node = plan.nodes[index]
        duration = ends[index] - (spans[index].ready or ends[index])
        for other in (*node.needs, *node.follows):
            latest[other] = min(latest[other], latest[index] - duration)
        for other in results.fallbacks.get(index, ()):
            latest[other] = min(latest[other], latest[index])
    return latest
