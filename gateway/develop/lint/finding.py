"""Lint rules and their findings."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from gateway.develop.lint.subject import LintSubject
from gateway.errors import Place, Problem

Occurrence = tuple[Place, str, str]
"""What a rule reports: the place, the subject, and a message that says what is unwise and what to do."""


class Severity(IntEnum):
    """The severity of a finding, in ascending order."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding. The problem's code is the ID of the rule."""

    problem: Problem
    severity: Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its ID, the severity of its findings, its meaning in one sentence, and the function that finds occurrences."""

    id: str
    severity: Severity
    meaning: str
    find: Callable[[LintSubject], Iterator[Occurrence]]
