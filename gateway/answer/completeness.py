"""Outcomes → ``extensions.completeness``: which steps are missing, degraded or served by a fallback, and why (paper 5.5)."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.contract.outcome import Failure, Skipped, Success
from gateway.plan.nodes import Plan
from gateway.run import Results
from gateway.run.joins import LinkResult

NOT_APPLICABLE = "not_applicable"
"""The reason why a step of an overlay is missing from the response to a request for which the overlay does not hold."""


def completeness(plan: Plan, results: Results, errors: Sequence[Mapping[str, Any]]) -> dict[str, object] | None:
    """Return ``extensions.completeness``, or None when every step has its own, complete value.

    ``missing`` lists the steps without a value, with their failure code or the reason why they were skipped, and the steps of whose
    value a part did not fit the schema. ``degraded`` lists the steps whose value came from a fallback, with the fallback that served it
    and the age of a stale value. ``path`` is that of the root field. ``errors`` are those of the response.
    """
    missing: list[dict[str, object]] = []
    degraded: list[dict[str, object]] = []
    for call in plan.calls:
        head = {"operation": call.operation.name, "path": [_first_key(plan, call.index)]}
        for node in (plan.nodes[index] for index in call.nodes):
            outcome = results.outcomes[node.index]
            entry = {**head, "step": node.step.name}
            if isinstance(outcome, Success):
                joined = outcome.value if isinstance(outcome.value, LinkResult) else None
                if joined and joined.failure is not None:
                    missing.append({**entry, "reason": reason_of(joined.failure)})
                served = joined.served if joined else outcome
                if served and served.instead_of is not None:
                    age = {"age_ms": round(served.age * 1000)} if served.age is not None else {}
                    degraded.append({**entry, "served_by": served.served_by, **age, "reason": reason_of(served.instead_of)})
            elif outcome is not None and not node.is_lazy:  # a failed lazy fallback is not missing itself: its primary is
                missing.append({**entry, "reason": reason_of(outcome)})
        missing += [{**head, "step": step, "reason": NOT_APPLICABLE} for step in call.not_applicable]
    missing += _partly_missing(plan, errors, missing)
    if not missing and not degraded:
        return None
    return {"missing": missing, "degraded": degraded}


def _first_key(plan: Plan, call: int) -> str:
    return next(root.selected.key for root in plan.roots if root.call == call)


def _partly_missing(
    plan: Plan, errors: Sequence[Mapping[str, Any]], missing: Sequence[Mapping[str, Any]]
) -> list[dict[str, object]]:
    """Return an entry for each step of whose value a part is missing: it did not fit the schema, or the upstream reported an error for it."""
    names = {root.selected.key: root.selected.name for root in plan.roots}
    reported = {(entry["path"][0], entry["step"]) for entry in missing}
    # Reversed twice: the first error of each step gives the reason, and the entries keep the order of the errors.
    reasons = {(error["path"][0], error["extensions"]["step"]): error["extensions"]["code"] for error in reversed(errors)}
    return [
        {"operation": names[key], "path": [key], "step": step, "reason": reason}
        for (key, step), reason in reversed(reasons.items())
        if (key, step) not in reported and not any(entry["step"] == step for entry in missing)
    ]


def reason_of(outcome: Failure | Skipped) -> str:
    """Return why a node has no value of its own: the code of its failure, or the reason why it was skipped."""
    return str(outcome.code if isinstance(outcome, Failure) else outcome.reason)


def cap_errors(errors: Sequence[dict[str, object]], maximum: int) -> Sequence[dict[str, object]]:
    """Return at most ``maximum`` errors; the message of the last one says how many more there are."""
    if len(errors) <= maximum:
        return errors
    last = errors[maximum - 1]
    return [*errors[: maximum - 1], {**last, "message": f"{last['message']} ({len(errors) - maximum} more errors are left out.)"}]
