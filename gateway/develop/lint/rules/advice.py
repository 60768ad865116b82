"""Rules that only step types can apply: the advice of step types, selected by rule ID."""

from collections.abc import Iterator

from gateway.develop.lint.finding import Occurrence
from gateway.develop.lint.subject import LintSubject, step_subject


def advice_on_steps(subject: LintSubject, rule: str) -> Iterator[Occurrence]:
    """Yield what step types advise about steps under one rule ID."""
    for owner, step in subject.steps():
        for advice in subject.step_types[step.type].advise(step):
            if advice.code == rule:
                yield subject.at(step.place, *advice.path), f"{step_subject(owner, step)} · {advice.path[0]}", advice.message


def advice_on_sources(subject: LintSubject, rule: str) -> Iterator[Occurrence]:
    """Yield what step types advise about sources under one rule ID."""
    for source in subject.blueprint.sources.values():
        for advice in subject.step_types[source.keys.type].advise_source(source.keys):
            if advice.code == rule:
                yield subject.at(source.place, *advice.path), f"source {source.name} · {advice.path[0]}", advice.message
