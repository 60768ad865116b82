"""What a rule is, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from gateway.develop.lint.subject import LintSubject
from gateway.errors import Place, Problem

Occurrence = tuple[Place, str, str]
"""Where, in what, and what is unwise about it and what to do."""


class Severity(IntEnum):
    """How bad a finding is; the worst is the largest."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding; the problem's code is the id of the rule."""

    problem: Problem
    severity: Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its id, how bad its findings are, what it says in one sentence, and the function that looks."""

    id: str
    severity: Severity
    meaning: str
    find: Callable[[LintSubject], Iterator[Occurrence]]
