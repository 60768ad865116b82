"""The policies of a step's calls: the mistakes in its own policies, and which policies apply: its own, or else those of its source."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.contract import KeyProblem, StepType
from gateway.settings import SourceKeys, StepKeys
from gateway.settings.policies import CallPolicyKeys, HedgeKeys, RetryKeys, StepPolicyKeys

_ONCE = RetryKeys(attempts=1)
_NOT_HEDGED = HedgeKeys(enabled=False)


def policy_problems(keys: StepKeys, step_type: StepType) -> Iterator[KeyProblem]:
    """Yield the mistakes in the policies of a step that their models cannot find."""
    for name, policy in keys.policies.items():
        if name in _CHECKS:
            yield from _CHECKS[name](policy, keys, step_type)


def policies_of(keys: StepKeys, source: SourceKeys | None, step_type: StepType) -> dict[str, CallPolicyKeys]:
    """Return the policies that apply to a step, by name."""
    written = {**(source.policies if source else {}), **keys.policies}
    effective: dict[str, CallPolicyKeys] = {}
    for name in StepPolicyKeys.model_fields:
        policy = _EFFECTIVE[name](written.get(name), keys, step_type) if name in _EFFECTIVE else written.get(name)
        if policy is not None:
            effective[name] = policy
    return effective


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
"""The check of each policy, by name, that a step can have wrongly."""


def _retry(written: RetryKeys | None, keys: StepKeys, step_type: StepType) -> RetryKeys:
    # A call that may change something is never repeated: the first attempt may have succeeded although its reply was lost.
    if written is None or written.attempts == 1 or step_type.is_idempotent(keys):
        return written or _ONCE
    return written.model_copy(update={"attempts": 1})


def _hedge(written: HedgeKeys | None, keys: StepKeys, step_type: StepType) -> HedgeKeys:
    return written if written and written.enabled and step_type.is_read(keys) else _NOT_HEDGED


_EFFECTIVE: Mapping[str, Callable[[Any, StepKeys, StepType], CallPolicyKeys | None]] = {"retry": _retry, "hedge": _hedge}
"""For each policy, by name, that every step has or that does not always apply as it is written: the function that returns what applies."""
