"""Outcomes → data and errors: null propagation, coercion, and where each failure is told (GraphQL spec 6.4.3, 6.4.4)."""

import json
from copy import deepcopy
from math import inf, nan
from typing import Any

import pytest

from gateway.answer.errors import Errors
from gateway.answer.projection import compile_projection, projection_source
from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.errors import Code
from gateway.plan.nodes import Plan
from gateway.run import Results, Span
from tests.kit.documents import budget
from tests.oracle import CompiledConfiguration, Stage

Error = tuple[list[Any], str, str]


def plan_of(config: str, query: str, types: str = "") -> Plan:
    compiled = CompiledConfiguration.open(config, Stage(), types)
    return compiled.plan(compiled.documents.read(query))[0].plan


def project(plan: Plan, *blocked: Failure | None, **outcomes: Outcome) -> tuple[Any, list[dict[str, Any]]]:
    """Project the outcomes of a plan's steps by name."""
    found = [outcomes.get(node.step.name) for node in plan.nodes]
    results = Results(found, [Span() for _ in found], list(blocked) or [None] * len(plan.calls))
    errors = Errors()
    return compile_projection(plan, budget())(results, {}, errors), errors


def told(errors: list[dict[str, Any]]) -> list[Error]:
    return [(error["path"], error["extensions"]["code"], error["extensions"]["step"]) for error in errors]


def picked(returns: str, query: str, value: object, types: str = "") -> tuple[Any, list[Error]]:
    """Project one value at the field `o`."""
    config = (
        f'{{ operation: o, steps: [{{ name: s, type: act, returns: "{returns}" }}], aggregation: {{ strategy: pick, step: s }} }}'
    )
    data, errors = project(plan_of(config, query, types), s=Success(value))
    return data["o"], told(errors)


WRONG = Code.RESPONSE_VALIDATION_FAILED
FAILED = Failure("a", Code.GATEWAY_TIMEOUT, "'a' did not answer in time.")


# -- coercion of leaves


@pytest.mark.parametrize(
    ("returns", "value", "expected"),
    [
        ("String", "text", "text"),
        ("String", 5, "5"),
        ("String", True, "true"),
        ("String", 1.5, "1.5"),
        ("ID", "a", "a"),
        ("ID", 7, "7"),
        ("ID", 2**70, str(2**70)),
        ("Int", 5, 5),
        ("Int", "5", 5),
        ("Int", 5.0, 5),
        ("Int", True, 1),
        ("Int", -(2**31), -(2**31)),
        ("Float", 1.5, 1.5),
        ("Float", 3, 3.0),
        ("Float", "2.5", 2.5),
        ("Boolean", False, False),
        ("Boolean", 1, True),
        ("Color", "RED", "RED"),
        ("JSON", {"any": [1]}, {"any": [1]}),
        ("JSON", 0, 0),
        ("Date", "2026-01-31", "2026-01-31"),
    ],
)
def test_a_leaf_that_can_be_read_is_of_its_type(returns: str, value: object, expected: object) -> None:
    data, errors = picked(returns, "{ o }", value, "scalar Date enum Color { RED }")
    assert (data, type(data), errors) == (expected, type(expected), [])


@pytest.mark.parametrize(
    ("returns", "value"),
    [
        ("String", {}),
        ("String", ["x"]),
        ("ID", 1.5),
        ("ID", True),
        ("Int", "x"),
        ("Int", ""),
        ("Int", 2**31),
        ("Int", -(2**31) - 1),
        ("Int", 1.5),
        ("Int", [1]),
        ("Float", "x"),
        ("Float", {}),
        ("Float", 10**400),
        ("Boolean", "true"),
        ("Boolean", []),
        ("Color", "PINK"),
        ("Color", 5),
        ("Color", ["RED"]),
        ("[Int]", {"0": 1}),
        ("[Int]", "12"),
        ("Point", 5),
        ("Point", [{"x": 1}]),
        ("Shape", {"x": 1}),
        ("Shape", {"__typename": "Color"}),
        ("Shape", {"__typename": ["Point"]}),
        ("Shape", "Point"),
    ],
)
def test_a_value_that_does_not_fit_is_null_with_one_error_at_its_field(returns: str, value: object) -> None:
    types = "enum Color { RED } type Point { x: Int } union Shape = Point"
    query = {"Point": "{ o { x } }", "Shape": "{ o { __typename } }"}.get(returns, "{ o }")
    assert picked(returns, query, value, types) == (None, [(["o"], WRONG, "s")])


@pytest.mark.parametrize("value", [inf, -inf, nan])
def test_a_number_that_json_does_not_have_is_null_with_an_error(value: float) -> None:
    assert picked("Float", "{ o }", value) == (None, [(["o"], WRONG, "s")])


def test_what_the_value_was_is_not_told() -> None:
    config = "{ operation: o, steps: [{ name: a, type: act, returns: Int }] }"
    _, errors = project(plan_of(config, "{ o { a } }"), a=Success("secret"))
    assert errors[0]["message"] == "'a' gave a value that does not fit the schema: expected Int."


# -- null propagation


@pytest.mark.parametrize(
    ("returns", "expected", "path"),
    [
        ("[Int]", [1, None, 3], None),
        ("[Int!]", None, ["o", 1]),
        ("[[Int!]]", None, None),
    ],
)
def test_a_null_in_a_list_goes_up_to_the_nearest_place_that_may_be_null(
    returns: str, expected: object, path: list[Any] | None
) -> None:
    value: object = [1, None, 3] if returns != "[[Int!]]" else None
    data, errors = picked(returns, "{ o }", value)
    assert (data, [error[0] for error in errors]) == (expected, [path] if path else [])


def test_a_null_in_a_nested_list_ends_at_the_inner_list_that_may_be_null() -> None:
    assert picked("[[Int!]]", "{ o }", [[1], [2, None, "x"], [3]]) == ([[1], None, [3]], [(["o", 1, 1], WRONG, "s")])


def test_a_missing_non_null_field_takes_its_object_with_it_and_leaves_the_others() -> None:
    types = "type Post { id: ID! title: String author: User! } type User { name: String! }"
    posts = [{"id": 1, "author": {"name": "A"}}, {"id": 2, "author": {}}, {"title": "x", "author": {"name": "B"}}]
    data, errors = picked("[Post]", "{ o { id title author { name } } }", posts, types)
    assert data == [{"id": "1", "title": None, "author": {"name": "A"}}, None, None]
    assert errors == [(["o", 1, "author", "name"], WRONG, "s"), (["o", 2, "id"], WRONG, "s")]


def test_the_first_error_of_an_object_that_becomes_null_is_the_only_one_for_it() -> None:
    types = "type T { a: Int! b: Int! }"
    assert picked("T", "{ o { a b } }", {}, types) == (None, [(["o", "a"], WRONG, "s")])


def test_errors_before_a_null_that_goes_up_stay() -> None:
    types = "type T { a: Int b: Int! c: Int }"
    errors = [(["o", "a"], WRONG, "s"), (["o", "b"], WRONG, "s")]
    assert picked("T", "{ o { a b c } }", {"a": "x", "c": "x"}, types) == (None, errors)


def test_a_non_null_field_of_a_composite_takes_the_operation_with_it_and_no_other() -> None:
    types = "type O { a: Int! b: Int } type P { c: Int }"
    config = "{ operation: o, steps: [{ name: a, type: act }, { name: b, type: act }] }\n---\n{ operation: p, steps: [{ name: c, type: act }] }"
    plan = plan_of(config, "{ o { b a } p { c } }", types)
    data, errors = project(plan, a=FAILED, b=Success(1), c=Success(2))
    assert data == {"o": None, "p": {"c": 2}}
    assert told(errors) == [(["o", "a"], "GATEWAY_TIMEOUT", "a")]


# -- keys


def test_keys_come_in_the_order_of_the_document_not_of_the_data() -> None:
    types = "type T { a: Int b: Int c: Int }"
    data, _ = picked("T", "{ o { c x: a b again: c ...F } } fragment F on T { y: b c a }", {"a": 1, "b": 2, "c": 3}, types)
    assert list(data.items()) == [("c", 3), ("x", 1), ("b", 2), ("again", 3), ("y", 2), ("a", 1)]


def test_a_typename_is_the_concrete_types_whatever_the_data_say_of_an_object_type() -> None:
    types = "interface I { a: Int } type A implements I { a: Int } type B implements I { a: Int b: Int } type W { i: I o: A }"
    value = {"i": {"__typename": "B", "b": 2}, "o": {"__typename": "B"}}
    data, errors = picked(
        "W", "{ o { __typename i { t: __typename ... on B { b } ... on A { a } } o { __typename } } }", value, types
    )
    assert data == {"__typename": "W", "i": {"t": "B", "b": 2}, "o": {"__typename": "A"}}
    assert not errors


def test_values_are_read_and_never_changed() -> None:
    types = "type T { a: [T] b: Int }"
    value = {"a": [{"b": "5", "a": None}, None, {"b": "x"}], "b": 1}
    before = deepcopy(value)
    assert picked("T", "{ o { b a { b x: a { b } } } }", value, types)[0] == {
        "b": 1,
        "a": [{"b": 5, "x": None}, None, {"b": None, "x": None}],
    }
    assert value == before


# -- where a failure is told

MERGED = "{ operation: o, steps: [{ name: a, type: act }, { name: b, type: act, depends_on: [a] }] }"
FLAT = """
operation: o
steps: [{ name: a, type: act, returns: A }, { name: b, type: act, returns: B }]
aggregation: { strategy: flatten }
"""
FLAT_TYPES = "type A { x: Int y: Int } type B { z: Int needed: Int! }"


def test_a_failed_step_is_an_error_at_each_field_that_it_fills() -> None:
    data, errors = project(plan_of(MERGED, "{ o { one: a two: a b } }"), a=FAILED, b=Success(1))
    assert data == {"o": {"one": None, "two": None, "b": 1}}
    assert told(errors) == [(["o", "one"], "GATEWAY_TIMEOUT", "a"), (["o", "two"], "GATEWAY_TIMEOUT", "a")]
    assert errors[0]["message"] == "'a' did not answer in time."


def test_the_status_of_an_upstream_is_told() -> None:
    _, errors = project(plan_of(MERGED, "{ o { a } }"), a=Failure("a", Code.SUBREQUEST_HTTP_ERROR, "…", 503))
    assert errors[0]["extensions"] == {"code": "SUBREQUEST_HTTP_ERROR", "step": "a", "http": {"status": 503}}


@pytest.mark.parametrize("reason", [SkipReason.CONDITION, SkipReason.MISSING_INPUT])
def test_a_skipped_step_is_null_without_an_error(reason: SkipReason) -> None:
    assert project(plan_of(MERGED, "{ o { a b } }"), a=Skipped(reason), b=Success(1)) == ({"o": {"a": None, "b": 1}}, [])


def test_a_skipped_step_in_a_non_null_field_is_an_error() -> None:
    data, errors = project(
        plan_of(MERGED, "{ o { a b } }", "type O { a: Int! b: Int }"), a=Skipped(SkipReason.CONDITION), b=Success(1)
    )
    assert (data, told(errors)) == ({"o": None}, [(["o", "a"], WRONG, "a")])


def test_a_failure_that_no_field_shows_is_told_where_it_took_the_input_away() -> None:
    lost = Skipped(SkipReason.MISSING_INPUT, FAILED)
    data, errors = project(plan_of(MERGED, "{ o { b } }"), a=FAILED, b=lost)
    assert (data, told(errors)) == ({"o": {"b": None}}, [(["o", "b"], "GATEWAY_TIMEOUT", "a")])
    data, errors = project(plan_of(MERGED, "{ o { b a } }"), a=FAILED, b=lost)
    assert (data, told(errors)) == ({"o": {"b": None, "a": None}}, [(["o", "a"], "GATEWAY_TIMEOUT", "a")])


def test_a_required_failure_is_one_error_at_each_root_field_of_its_operation() -> None:
    plan = plan_of(MERGED, "{ o { a b } again: o { b } }")
    assert len(plan.calls) == 1
    data, errors = project(plan, FAILED, a=FAILED, b=Success(1))
    assert data == {"o": None, "again": None}
    assert told(errors) == [(["o"], "GATEWAY_TIMEOUT", "a"), (["again"], "GATEWAY_TIMEOUT", "a")]


def test_a_flattened_object_that_failed_is_one_error_at_the_operation() -> None:
    data, errors = project(plan_of(FLAT, "{ o { x y z } }", FLAT_TYPES), a=FAILED, b=Success({"z": "5"}))
    assert (data, told(errors)) == ({"o": {"x": None, "y": None, "z": 5}}, [(["o"], "GATEWAY_TIMEOUT", "a")])


def test_a_flattened_object_that_failed_takes_the_operation_with_it_where_a_field_may_not_be_null() -> None:
    data, errors = project(plan_of(FLAT, "{ o { x needed } }", FLAT_TYPES), a=Success({"x": 1}), b=FAILED)
    assert (data, told(errors)) == ({"o": None}, [(["o"], "GATEWAY_TIMEOUT", "a")])


def test_a_flattened_value_that_is_no_object_is_an_error_and_a_null_one_is_not() -> None:
    data, errors = project(plan_of(FLAT, "{ o { x z } }", FLAT_TYPES), a=Success([1]), b=Success(None))
    assert (data, told(errors)) == ({"o": {"x": None, "z": None}}, [(["o"], WRONG, "a")])


def test_a_picked_step_that_failed_is_one_error_at_the_operation() -> None:
    config = "{ operation: o, steps: [{ name: a, type: act, returns: '[Int!]!' }], aggregation: { strategy: pick, step: a } }"
    assert [project(plan_of(config, "{ o x: o }"), a=FAILED)[0], told(project(plan_of(config, "{ o x: o }"), a=FAILED)[1])] == [
        {"o": None, "x": None},
        [(["o"], "GATEWAY_TIMEOUT", "a"), (["x"], "GATEWAY_TIMEOUT", "a")],
    ]


def test_a_fallbacks_value_is_a_value_like_any_other() -> None:
    assert project(plan_of(MERGED, "{ o { a } }"), a=Success(0, "value", FAILED)) == ({"o": {"a": 0}}, [])


# -- depth: CPython nests 20 loops and try statements, and 100 levels of indentation, at the most


def nested(depth: int, innermost: object) -> object:
    return [nested(depth - 1, innermost)] if depth else innermost


@pytest.mark.parametrize("depth", [1, 13, 14, 15, 20, 21, 28, 29, 40])
@pytest.mark.parametrize("mark", ["", "!"])
def test_lists_of_lists_of_any_depth_compile(depth: int, mark: str) -> None:
    returns = "[" * depth + "Int" + f"{mark}]" * depth
    assert picked(returns, "{ o }", nested(depth, "5")) == (nested(depth, 5), [])
    data, errors = picked(returns, "{ o }", nested(depth, "x"))
    assert data == (None if mark else nested(depth, None))
    assert errors == [(["o", *[0] * depth], WRONG, "s")]


LINKS = ("Node", "Node!", "[Node!]!", "[Node]", "Any")


@pytest.mark.parametrize(
    ("link", "depth"),
    [
        *((link, depth) for link in LINKS for depth in (5, 20, 30)),
        ("[Node!]!", 110),
        ("[Node]", 110),
        ("Node", 110),
        ("Node!", 110),
        ("Any", 90),
        ("Any", 60),
    ],
)
def test_selections_of_any_depth_compile(link: str, depth: int) -> None:
    types = f"interface Any {{ n: Int, next: {link} }} type Node implements Any {{ n: Int, next: {link} }}"
    query, value = "n", dict[str, Any]({"n": "x"})
    path: list[Any] = ["n"]
    for _ in range(depth):
        query = f"n next {{ {query} }}" if link != "Any" else f"n ... on Node {{ next {{ {query} }} }}"
        value = {"__typename": "Node", "n": 1, "next": [value] if link[0] == "[" else value}
        path = ["next", *([0] if link[0] == "[" else []), *path]
    value["__typename"] = "Node"
    if link == "Any":
        value = json.loads(json.dumps(value).replace('{"n": "x"}', '{"__typename": "Node", "n": "x"}'))
    data, errors = picked("Node", f"{{ o {{ {query} }} }}", value, types)
    assert errors == [(["o", *path], WRONG, "s")]
    assert json.dumps(data).count('"n": 1') == depth


def test_the_projection_source_a_projection_can_be_read() -> None:
    plan = plan_of("{ operation: o, steps: [{ name: a, type: act, returns: Int }] }", "{ o { x: a } }")
    assert (
        projection_source(plan, budget())
        == """\
def project(results, meta, errors):
    outcomes = results.outcomes
    v1 = results.blocked[0]
    if v1 is not None:
        errors.append(v1.error(('o',)))
        v1 = None
    else:
        v3 = outcomes[0]
        if type(v3) is Success:
            v3 = v3.value
            if (type(v3) is not int or not -2147483648 <= v3 <= 2147483647) and v3 is not None:
                v3 = leaf(k4, v3, errors, ('o', 'x',), 'a', 'Int')
        else:
            absent(v3, errors, ('o', 'x',), k2)
            v3 = None
        v1 = {'x': v3}
    return {'o': v1}
"""
    )
