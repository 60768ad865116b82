"""Custom rules: ``policy:`` documents, evaluated over the blueprint as data."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

from gateway.blueprint.blueprint import PolicyRule
from gateway.blueprint.view import Data, blueprint_json
from gateway.develop.lint.finding import Occurrence, Rule, Severity
from gateway.develop.lint.subject import LintSubject
from gateway.errors import Place
from gateway.language.evaluation import MAX_WORK
from gateway.language.expression import ExpressionError

_PLACE = re.compile(r"(.+):(\d+):(\d+)")
_NAMES = ("name", "field")


def policy_rules(subject: LintSubject) -> list[Rule]:
    """Return the configuration's own rules. They share one view of the blueprint, which is built when the first rule runs."""
    view = cache(partial(blueprint_json, subject.blueprint))
    return [_rule(policy, view) for policy in subject.blueprint.policy_rules]


def _rule(policy: PolicyRule, view: Callable[[], Data]) -> Rule:
    def find(_: LintSubject) -> Iterator[Occurrence]:
        about = f"policy {policy.name}"
        try:
            result = policy.find.search(view(), MAX_WORK)
        except ExpressionError as error:
            yield policy.place, about, f"the policy cannot be evaluated: {error}"
            return
        for item in result if isinstance(result, list) else [result]:
            # An expression can yield a condition instead of objects; an empty or false result means that nothing was found.
            if item in (None, False, "", {}, []):
                continue
            place = _place(item) or policy.place
            yield place, f"{about}{_name(item)}", policy.message

    return Rule(f"policy/{policy.name}", Severity[policy.severity.upper()], policy.message, find)


def _place(item: object) -> Place | None:
    """Return the place that an object of the view has in its key ``at``."""
    text = item.get("at") if isinstance(item, Mapping) else None
    match = _PLACE.fullmatch(text) if isinstance(text, str) else None
    return Place(match[1], int(match[2]), int(match[3])) if match else None


def _name(item: Any) -> str:
    if isinstance(item, Mapping):
        name = next((item[key] for key in _NAMES if item.get(key)), None)
        owner = item.get("operation")
        return f" · {owner}.{name}" if name and owner else f" · {name}" if name else ""
    return f" · {item}" if isinstance(item, str) else ""
