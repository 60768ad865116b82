"""Outcomes → what the projection reads, and the word on what is missing, degraded or served by a fallback (paper 5.5)."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.contract.outcome import Failure, Skipped, Success
from gateway.plan.nodes import Plan
from gateway.run import Results
from gateway.run.joins import Joined

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
                found = outcome.value if isinstance(outcome.value, Joined) else None
                if found and found.failure is not None:
                    missing.append({**entry, "reason": reason_of(found.failure)})
                served = found.served if found else outcome
                if served and served.instead_of is not None:
                    age = {"age_ms": round(served.age * 1000)} if served.age is not None else {}
                    degraded.append({**entry, "served_by": served.served_by, **age, "reason": reason_of(served.instead_of)})
            elif outcome is not None and not node.is_lazy:
                missing.append({**entry, "reason": reason_of(outcome)})
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


def reason_of(outcome: Failure | Skipped) -> str:
    """Return the word for why a node has no value of its own: the code of its failure, or why it was skipped."""
    return str(outcome.code if isinstance(outcome, Failure) else outcome.reason)


def capped(errors: Sequence[dict[str, object]], most: int) -> Sequence[dict[str, object]]:
    """Return the first errors; the last of them says how many more there are."""
    if len(errors) <= most:
        return errors
    last = errors[most - 1]
    return [*errors[: most - 1], {**last, "message": f"{last['message']} ({len(errors) - most} more errors are left out.)"}]
