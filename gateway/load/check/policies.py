"""The policies of a step's calls: what is wrong with those that it has itself, and which hold: its own, or else those of its source."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.contract import KeyProblem, StepType
from gateway.settings import SourceKeys, StepKeys
from gateway.settings.policies import CallPolicyKeys, HedgeKeys, RetryKeys, StepPolicyKeys

_ONCE = RetryKeys(attempts=1)
_NOT_HEDGED = HedgeKeys(enabled=False)


def policy_problems(keys: StepKeys, step_type: StepType) -> Iterator[KeyProblem]:
    """Yield what is wrong with the policies of a step beyond the types of their keys."""
    for name, policy in keys.policies.items():
        if name in _CHECKS:
            yield from _CHECKS[name](policy, keys, step_type)


def policies_of(keys: StepKeys, source: SourceKeys | None, step_type: StepType) -> dict[str, CallPolicyKeys]:
    """Return the policies that hold for a step, by name."""
    said = {**(source.policies if source else {}), **keys.policies}
    found: dict[str, CallPolicyKeys] = {}
    for name in StepPolicyKeys.model_fields:
        policy = _WHAT_HOLDS[name](said.get(name), keys, step_type) if name in _WHAT_HOLDS else said.get(name)
        if policy is not None:
            found[name] = policy
    return found


def _check_retry(retry: RetryKeys, _keys: StepKeys, _step_type: StepType) -> Iterator[KeyProblem]:
    for key in ("budget_percent", "budget_min"):
        if key in retry.model_fields_set:
            message = "the budget is that of all calls to a source; write it in the 'retry:' of the source"
            yield KeyProblem(("retry", key), message, "budget-of-step", is_about_key=True)


def _check_hedge(hedge: HedgeKeys, keys: StepKeys, step_type: StepType) -> Iterator[KeyProblem]:
    if hedge.enabled and step_type.source_keys is None:
        yield KeyProblem("hedge", f"a step of the type '{step_type.name}' calls no source; remove it", "unused-key")
    elif hedge.enabled and not step_type.is_read(keys):
        yield KeyProblem("hedge", "a call that may change something is not made twice at once; remove it", "hedge-not-read")


_CHECKS: Mapping[str, Callable[[Any, StepKeys, StepType], Iterator[KeyProblem]]] = {"retry": _check_retry, "hedge": _check_hedge}
"""Policies by name that can be wrong at a step, with what finds that."""


def _retry(said: RetryKeys | None, keys: StepKeys, step_type: StepType) -> RetryKeys:
    if said is None or said.attempts == 1 or step_type.is_idempotent(keys):
        return said or _ONCE
    return said.model_copy(update={"attempts": 1})


def _hedge(said: HedgeKeys | None, keys: StepKeys, step_type: StepType) -> HedgeKeys:
    return said if said and said.enabled and step_type.is_read(keys) else _NOT_HEDGED


_WHAT_HOLDS: Mapping[str, Callable[[Any, StepKeys, StepType], CallPolicyKeys | None]] = {"retry": _retry, "hedge": _hedge}
"""Policies by name that do not always hold as they are written, or that every step has, with what makes them of what is written."""
