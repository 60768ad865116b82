"""How large an expression can make what it gets: found out once, when it is compiled, from its syntax tree alone.

``| [@, @][]`` doubles a list, so twenty of them make a million items of one. Whoever writes that does not mean it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Node = Mapping[str, Any]
_FIXED = {"literal", "comparator", "not_expression"}
"""Nodes whose result does not contain the input."""
_PIPELINES = {"pipe", "subexpression", "index_expression", "projection", "value_projection"}
_CONSTANT = frozenset(
    {"abs", "avg", "ceil", "contains", "ends_with", "floor", "length", "max", "min", "starts_with", "sum", "to_number", "type"}
)
"""Functions whose result is a scalar that is not larger than an argument."""


def multiplication(node: Node) -> int:
    """Return how many times an expression may contain its input at most, in its result or on the way there."""
    peaks = [1]
    _measure(node, peaks)
    return max(peaks)


def _measure(node: Node, peaks: list[int]) -> int:
    """Return how many times the result of a node may contain its input, 0 if it has a fixed size. Add what it reaches to ``peaks``."""
    kind, children = node["type"], node["children"]
    if kind == "slice":  # its children are numbers
        return 1
    if kind in _PIPELINES:
        return _of_pipeline(children, peaks)
    if kind == "filter_projection":
        *pipeline, condition = children
        _measure(condition, peaks)
        return _of_pipeline(pipeline, peaks)
    factors = [_measure(child, peaks) for child in children]
    if kind in _FIXED:
        return 0
    if kind in {"multi_select_dict", "multi_select_list"}:
        result = _of_parts(children, factors)
    else:
        result = _of_function(node["value"], factors) if kind == "function_expression" else max(factors, default=1)
    peaks.append(result)
    return result


def _of_pipeline(children: Sequence[Node], peaks: list[int]) -> int:
    """Return the multiplication of nodes of which the first reads the input, and each other one what the one before it has made."""
    result = 1
    for child in children:
        reached = [1]
        factor = _measure(child, reached)
        peaks.append(result * max(reached))
        result *= max(1, factor)
    return result


def _of_parts(parts: Sequence[Node], factors: Sequence[int]) -> int:
    """Return the multiplication of an object or list: fields of different names are different parts of the input."""
    fields: dict[str, int] = {}
    for part, factor in zip(parts, factors, strict=True):
        name = _first_field(part)
        fields[name] = fields.get(name, 0) + factor
    whole = fields.pop("", 0)
    return whole + max(fields.values(), default=0)


def _first_field(node: Node) -> str:
    """Return the name of the field of the input that is all that a node reads; empty if it reads more, or that is not known."""
    if node["type"] == "field":
        return str(node["value"])
    passes_on = {"key_val_pair", "pipe", "subexpression", "index_expression", "projection", "value_projection", "flatten"}
    return _first_field(node["children"][0]) if node["type"] in passes_on | {"filter_projection"} else ""


def _of_function(name: str, factors: Sequence[int]) -> int:
    if name in _CONSTANT:
        return 0
    if name == "map":
        return factors[0] * factors[1]
    if name in {"sort_by", "max_by", "min_by"}:
        return factors[0]
    # Each quote in a text is escaped, by a backslash that is escaped itself the next time.
    return sum(factors) * (2 if name == "to_string" else 1)
