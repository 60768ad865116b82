"""Rules that only step types can judge: their advice, by the id of the rule that asks for it."""

from collections.abc import Iterator

from gateway.develop.lint.finding import Occurrence
from gateway.develop.lint.subject import LintSubject, step_subject


def advice_on_steps(subject: LintSubject, rule: str) -> Iterator[Occurrence]:
    """Yield what the types of steps advise under one id."""
    for owner, step in subject.steps():
        for found in subject.step_types[step.type].advise(step):
            if found.code == rule:
                yield subject.at(step.place, *found.path), f"{step_subject(owner, step)} · {found.path[0]}", found.message


def advice_on_sources(subject: LintSubject, rule: str) -> Iterator[Occurrence]:
    """Yield what the types of sources advise under one id."""
    for source in subject.blueprint.sources.values():
        for found in subject.step_types[source.keys.type].advise_source(source.keys):
            if found.code == rule:
                yield subject.at(source.place, *found.path), f"source {source.name} · {found.path[0]}", found.message
