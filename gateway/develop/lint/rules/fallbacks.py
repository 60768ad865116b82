"""Rules about failing steps: fallbacks and retries."""

from collections.abc import Iterator, Mapping

from gateway.blueprint import Fallback, Operation, Step
from gateway.develop.lint.finding import Occurrence
from gateway.develop.lint.subject import LintSubject, step_subject


def fallbacks_that_cannot_be_reached(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield fallbacks of a step that cannot fail, fallbacks after one that cannot fail, and repeated ones."""
    for owner, step in subject.steps():
        steps = owner.steps if isinstance(owner, Operation) else {}
        reason = None if subject.step_types[step.type].can_fail(step) else "the step cannot fail"
        for index, fallback in enumerate(step.fallbacks):
            again = "it was tried before" if fallback in step.fallbacks[:index] else None
            if reason or again:
                place = subject.at(step.place, "fallback", index)
                message = f"it is never tried: {reason or again}; remove it, or move it up"
                yield place, f"{step_subject(owner, step)} · fallback", message
            if reason is None and not _can_fail(subject, fallback, steps):
                reason = "the one before it cannot fail"


def _can_fail(subject: LintSubject, fallback: Fallback, steps: Mapping[str, Step]) -> bool:
    if fallback.step is None:
        return fallback.can_fail
    other = steps[fallback.step]
    return subject.step_types[other.type].can_fail(other)


def required_steps_without_retry(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield required idempotent steps with a source that have one attempt and no fallback."""
    for owner, step in subject.steps():
        is_fragile = step.is_required and step.is_idempotent and step.retry.attempts == 1 and not step.fallbacks
        if is_fragile and step.source is not None:
            message = "one failed attempt leaves the operation without an answer; give it 'retry: { attempts: 2 }' or a fallback"
            yield subject.at(step.place, "retry"), step_subject(owner, step), message
