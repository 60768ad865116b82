"""``policy:`` documents → lint rules of the configuration's own, as expressions over the blueprint as data.

Paper section 11 asks for "policy checks before rollout".
"""

from collections.abc import Sequence

from gateway.blueprint.blueprint import PolicyRule
from gateway.errors import Place, Problem
from gateway.language.expression import ExpressionError, compile_expression
from gateway.load.read.decode import Decoded
from gateway.settings import PolicyKeys


def read_policy_rules(documents: Sequence[Decoded[PolicyKeys]], problems: list[Problem]) -> tuple[PolicyRule, ...]:
    """Return the rules of all documents in order. Invalid rules are reported and left out."""
    rules: list[PolicyRule] = []
    seen: dict[str, Place] = {}
    for decoded in documents:
        keys = decoded.keys
        if keys.policy in seen:
            message = f"a second policy of the name '{keys.policy}', first at {seen[keys.policy]}"
            problems.append(decoded.problem(("policy",), message, "duplicate-name"))
        seen.setdefault(keys.policy, decoded.place)
        try:
            find = compile_expression(keys.find)
        except ExpressionError as error:
            problems.append(decoded.problem(("find",), f"not a JMESPath expression: {error}", "bad-expression"))
            continue
        place = decoded.marks.at(("find",))
        rules.append(PolicyRule(keys.policy, find, keys.message, keys.severity, place))
    return tuple(rules)
