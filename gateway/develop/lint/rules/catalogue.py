"""The list of all rules, and the linter: a configuration → its findings, in order of place."""

from functools import partial

from gateway.develop.lint.finding import Finding, Rule, Severity
from gateway.develop.lint.ignores import BAD_IGNORE, UNUSED_IGNORE, without_ignored
from gateway.develop.lint.rules.advice import advice_on_sources, advice_on_steps
from gateway.develop.lint.rules.fallbacks import fallbacks_that_cannot_be_reached, required_steps_without_retry
from gateway.develop.lint.rules.fan_out import links_called_for_each_parent, links_called_without_bound
from gateway.develop.lint.rules.latency import links_over_a_deadline, operations_over_their_deadline
from gateway.develop.lint.rules.policy import policy_rules
from gateway.develop.lint.rules.secrets import secrets_in_files
from gateway.develop.lint.rules.unused import untyped_steps, unused_sources, unused_steps, unused_types
from gateway.develop.lint.subject import LintSubject
from gateway.errors import Problem
from gateway.load.read.files import Files

_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO
RULES: tuple[Rule, ...] = (
    Rule("deadline-exceeded", _W, "Attempts, waits and fallbacks fit into the deadline.", operations_over_their_deadline),
    Rule("link-deadline-exceeded", _W, "One call of a link fits into the deadlines that lead to it.", links_over_a_deadline),
    Rule("n-plus-one", _W, "A link below a list asks for many parents at once.", links_called_for_each_parent),
    Rule("unbounded-fan-out", _E, "Calls do not multiply with lists in lists.", links_called_without_bound),
    Rule("unreachable-fallback", _W, "Every fallback can be reached.", fallbacks_that_cannot_be_reached),
    Rule("required-without-retry", _W, "A required step is tried more than once.", required_steps_without_retry),
    Rule("unused-step", _W, "Every step can be run.", unused_steps),
    Rule("unused-source", _W, "Every source is called.", unused_sources),
    Rule("unused-type", _I, "Every declared type can be seen.", unused_types),
    Rule("untyped-step", _W, "Every field has a type.", untyped_steps),
    Rule("secret-in-file", _E, "No secret stands in a file.", secrets_in_files),
    Rule("plain-http", _W, "Calls that leave this machine are encrypted.", partial(advice_on_sources, rule="plain-http")),
    Rule(
        "unverified-certificate",
        _W,
        "Calls verify whom they reach.",
        partial(advice_on_sources, rule="unverified-certificate"),
    ),
    Rule("query-without-limit", _W, "A list of rows has a bound.", partial(advice_on_steps, rule="query-without-limit")),
)
"""The built-in rules, ordered by topic. The meaning of each is what a configuration without findings satisfies."""


ABOUT_IGNORES: tuple[Rule, ...] = (
    Rule(BAD_IGNORE, _E, "An ignore comment names a rule and a reason.", lambda _: iter(())),
    Rule(UNUSED_IGNORE, _W, "An ignore comment ignores something.", lambda _: iter(())),
)
"""Rules about ignore comments. They find nothing themselves: their findings depend on those of all other rules (``ignores``)."""


def all_rules(subject: LintSubject) -> list[Rule]:
    """Return the rules for a configuration: the built-in ones and those of its ``policy:`` documents."""
    return [*RULES, *ABOUT_IGNORES, *policy_rules(subject)]


def lint(subject: LintSubject, files: Files) -> list[Finding]:
    """Return the findings of all rules that no comment suppresses."""
    rules = all_rules(subject)
    # A set: a rule finds the same thing again in each variant of an operation.
    findings = {
        Finding(Problem(place, about, message, rule.id), rule.severity)
        for rule in rules
        for place, about, message in rule.find(subject)
    }
    return sorted(without_ignored(sorted(findings), files.texts, [rule.id for rule in rules]))
