"""A request's text → a document, its variables and its plan; what is refused, with which code, and what is done only once."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from graphql import build_schema, execute_sync, get_introspection_query, parse

from gateway.answer.projection import projection_source
from gateway.document.coercion import MAX_MESSAGE
from gateway.document.document import Document
from gateway.errors import Code, RequestError
from gateway.run.reply_cache import ReplyCache
from gateway.schema.build import build_schema as build
from gateway.serve.generation.generation import Generation
from gateway.serve.generation.plans import MAX_PLANS, CompiledPlan
from tests.kit import virtual
from tests.kit.documents import Documents, budget
from tests.oracle import CompiledConfiguration, Stage, blueprint_of, perform

CONFIG = """
operation: o
args: { id: ID!, n: Int, tags: "[String!]", shade: Shade, ratio: Float }
steps: [{ name: a, type: act, returns: Node }, { name: b, type: act }]
---
limits: { max_depth: 100, max_aliases: 100000, max_fields: 100000, max_root_fields: 1000 }
"""
TYPES = "enum Shade { DARK LIGHT } type Node { n: Int next: Node many: [Node!] }"
COMPILED = CompiledConfiguration.open(CONFIG, Stage(), TYPES)
PRODUCTION = Documents(COMPILED.documents.blueprint, COMPILED.documents.schema, is_development=False)


def read(query: str, documents: Documents = COMPILED.documents) -> Document:
    return documents.read(query)


def plan(query: str, variables: Mapping[str, object] | None = None, documents: Documents = COMPILED.documents) -> CompiledPlan:
    """Take a document as far as its plan and its arguments."""
    document = documents.read(query)
    definition = document.definition(None, is_read_only=False)
    coerced = definition.variables(variables or {})
    planned = documents.plan(definition, coerced)
    planned.arguments(coerced)
    return planned


def refused(query: str, variables: Mapping[str, object] | None = None, documents: Documents = COMPILED.documents) -> RequestError:
    with pytest.raises(RequestError) as caught:
        plan(query, variables, documents)
    assert all(error["message"] and error["extensions"] == {"code": str(caught.value.code)} for error in caught.value.errors)
    return caught.value


def planned_or_refused(query: str) -> CompiledPlan | RequestError:
    try:
        return plan(query)
    except RequestError as error:
        return error


# -- what is refused


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", Code.GRAPHQL_PARSE_FAILED),
        ("", Code.GRAPHQL_PARSE_FAILED),
        ("{ o(id: 1) { b } ", Code.GRAPHQL_PARSE_FAILED),
        ("{ o(id: 1) { b } } é", Code.GRAPHQL_PARSE_FAILED),
        ("{ " + "b " * 2_000 + "}", Code.TOKEN_LIMIT_EXCEEDED),
        ("{ nothing }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: 1) }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: 1) { b { x } } }", Code.GRAPHQL_VALIDATION_FAILED),
        ('{ o(id: 1, n: "x") { b } }', Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: null) { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: 1, shade: RED) { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: 1) { b } o(id: 2) { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: $id) { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("query ($id: ID!) { o(id: 1) { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("query ($id: ID) { o(id: $id) { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ ...F } fragment F on Query { ...F }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: 1) { b @nope } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: 1) { b @skip(if: true) @skip(if: false) } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("{ o(id: 1) { b @skip } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("mutation { o(id: 1) { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("subscription { o(id: 1) { b } }", Code.GRAPHQL_VALIDATION_FAILED),
        ("fragment F on Query { __typename }", Code.OPERATION_RESOLUTION_FAILURE),
        ("query A { __typename } query B { __typename }", Code.OPERATION_RESOLUTION_FAILURE),
    ],
)
def test_a_document_that_cannot_be_answered_is_refused_with_its_code(query: str, code: Code) -> None:
    error = refused(query)
    assert (error.code, error.status) == (code, 400)


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ("$v: Int!", {"v": "x"}),
        ("$v: Int!", {}),
        ("$v: Int!", {"v": None}),
        ("$v: Int!", {"v": {}}),
        ("$v: Int!", {"v": 2**31}),
        ("$v: Int!", {"v": 1.5}),
        ("$v: Int!", {"v": True}),
    ],
)
def test_a_variable_that_is_missing_or_does_not_fit_is_bad_input(declared: str, given: dict[str, object]) -> None:
    error = refused(f"query ({declared}) {{ o(id: 1, n: $v) {{ b }} }}", given)
    assert (error.code, error.status) == (Code.BAD_USER_INPUT, 400)
    assert "$v" in str(error.errors[0]["message"])


@pytest.mark.parametrize(
    ("query", "given"),
    [
        ("query ($id: ID = 5) { o(id: $id) { b } }", {"id": None}),
        ("{ o(id: 1, ratio: 1e999) { b } }", {}),
        ("query ($v: Boolean = true) { o(id: 1) { b @include(if: $v) } }", {"v": None}),
        ("query ($v: Boolean = true) { o(id: 1) @skip(if: $v) { b } }", {"v": None}),
    ],
)
def test_a_variable_that_is_null_where_its_default_alone_makes_it_valid_is_bad_input(
    query: str, given: dict[str, object]
) -> None:
    assert refused(query, given).code is Code.BAD_USER_INPUT


@pytest.mark.parametrize("number", [19_999, 20_000])
def test_variables_have_no_more_values_than_allowed(number: int) -> None:
    query = "query ($tags: [String!]) { o(id: 1, tags: $tags) { b } }"
    if number < 20_000:
        plan(query, {"tags": ["x"] * number})
    else:
        assert refused(query, {"tags": ["x"] * number}).code is Code.BAD_USER_INPUT
        assert refused(query, {"tags": {str(index): [] for index in range(number)}}).code is Code.BAD_USER_INPUT


def test_all_mistakes_are_told_with_their_places_up_to_a_limit() -> None:
    error = refused("{ x y\n z }")
    assert [found["locations"] for found in error.errors] == [
        [{"line": 1, "column": 3}],
        [{"line": 1, "column": 5}],
        [{"line": 2, "column": 2}],
    ]
    assert len(refused("{ " + " ".join(f"f{number}" for number in range(300)) + " }").errors) == 51


def test_what_a_client_sent_is_not_echoed_at_length() -> None:
    long = "x" * 5000
    for error in (refused(f"{{ {long} }}"), refused("query ($v: Int!) { o(id: 1, n: $v) { b } }", {"v": long})):
        assert len(str(error.errors[0]["message"])) <= MAX_MESSAGE + 1
    with pytest.raises(RequestError) as caught:
        read("{ __typename }").definition(long, is_read_only=False)
    assert len(str(caught.value.errors[0]["message"])) <= MAX_MESSAGE


@pytest.mark.parametrize(
    ("query", "given"), [("{ ofo(id: 1) { b } }", {}), ("query ($s: Shade) { o(id: 1, shade: $s) { b } }", {"s": "DRAK"})]
)
def test_names_are_suggested_in_development_only(query: str, given: dict[str, object]) -> None:
    assert "Did you mean" in str(refused(query, given).errors[0]["message"])
    assert "Did you mean" not in str(refused(query, given, PRODUCTION).errors[0]["message"])


def test_an_operation_is_found_by_its_name() -> None:
    document = read("query A { __typename } query B { o(id: 1) { b } }")
    assert document.definition("B", is_read_only=True) is document.definitions[1]
    with pytest.raises(RequestError) as caught:
        document.definition("C", is_read_only=False)
    assert (caught.value.code, caught.value.status) == (Code.OPERATION_RESOLUTION_FAILURE, 400)


def test_a_mutation_in_a_read_only_request_is_refused_as_such() -> None:
    with pytest.raises(RequestError) as caught:
        read("mutation { anything }").definition(None, is_read_only=True)
    assert (caught.value.code, caught.value.status) == (Code.MUTATION_NOT_ALLOWED_OVER_HTTP_GET, 405)


# -- depth and breadth


@pytest.mark.parametrize("field", ["next", "many"])
@pytest.mark.parametrize(
    "depth",
    [
        15,
        30,
        180,
        250,
        5000,
    ],
)
def test_a_document_of_any_depth_is_planned_or_refused(field: str, depth: int) -> None:
    query = "{ o(id: 1) { a " + f"{{ {field} " * depth + "{ n }" + " }" * depth + " } }"
    found = planned_or_refused(query)
    if isinstance(found, RequestError):
        assert (found.status, depth > 100) == (400, True)
    else:
        assert len(found.plan.nodes) == 1


def test_a_projection_grows_with_the_document_and_not_with_what_its_fragments_multiply_to() -> None:
    levels = 11
    fragments = [
        f"fragment F{level} on Node {{ x: next {{ ...F{level + 1} }} y: next {{ ...F{level + 1} }} }}" for level in range(levels)
    ]
    query = " ".join(["{ o(id: 1) { a { ...F0 } } }", *fragments, f"fragment F{levels} on Node {{ n }}"])
    found = planned_or_refused(query)
    assert isinstance(found, RequestError) or projection_source(found.plan, budget()).count("\n") < 2000


# -- arguments


@pytest.mark.parametrize(
    ("query", "given", "expected"),
    [
        ("{ o(id: 7) { b } }", {}, {"id": "7", "n": None, "tags": None, "shade": None, "ratio": None}),
        (
            'query ($i: ID!, $t: String!) { o(id: $i, n: 2, tags: ["x", $t], shade: DARK, ratio: 3) { b } }',
            {"i": "a", "t": "y"},
            {"id": "a", "n": 2, "tags": ["x", "y"], "shade": "DARK", "ratio": 3.0},
        ),
        ('{ o(id: 1, tags: "one") { b } }', {}, {"id": "1", "n": None, "tags": ["one"], "shade": None, "ratio": None}),
        ("query ($n: Int = 5) { o(id: 1, n: $n) { b } }", {}, {"id": "1", "n": 5, "tags": None, "shade": None, "ratio": None}),
        (
            "query ($n: Int) { o(id: 1, n: $n) { b } }",
            {"n": None},
            {"id": "1", "n": None, "tags": None, "shade": None, "ratio": None},
        ),
    ],
)
def test_arguments_are_coerced_and_those_that_are_not_given_are_null(
    query: str, given: dict[str, object], expected: dict[str, object]
) -> None:
    _, arguments, _ = COMPILED.plan(read(query), given)
    assert arguments.calls == [expected]


@pytest.mark.parametrize("number", [2**53 + 1, 123456789012345680000, -(10**23), 10**300])
def test_a_whole_number_is_a_float_of_whatever_size(number: int) -> None:
    _, arguments, _ = COMPILED.plan(read("query ($r: Float) { o(id: 1, ratio: $r) { b } }"), {"r": number})
    assert arguments.calls[0]["ratio"] == float(number)


def test_each_operation_call_has_its_own_arguments() -> None:
    _, arguments, _ = COMPILED.plan(
        read("query ($n: Int) { x: o(id: 1, n: $n) { b } y: o(n: $n, id: 2) { b } z: o(id: 1, n: $n) { a { n } } }"), {"n": 3}
    )
    assert [(found["id"], found["n"]) for found in arguments.calls] == [("1", 3), ("2", 3)]


# -- what is done once

CONDITIONS = ", ".join(f"$v{number}: Boolean!" for number in range(7))
FIELDS = " ".join(f"f{number}: b @include(if: $v{number})" for number in range(7))


def test_a_document_is_planned_once_for_each_set_of_conditions() -> None:
    document = read("query ($n: Int, $v: Boolean!) { o(id: 1, n: $n) { b a @skip(if: $v) { n } } }")

    def planned(**values: object) -> CompiledPlan:
        definition = document.definition(None, is_read_only=False)
        return COMPILED.documents.plan(definition, definition.variables(values))

    first = planned(n=1, v=True)
    assert planned(n=2, v=True) is first
    assert planned(n=1, v=False) is not first
    assert [node.step.name for node in planned(n=1, v=False).plan.nodes] == ["a", "b"]
    assert planned(n=1, v=True) is first


def test_each_operation_of_a_document_has_its_own_plan() -> None:
    document = read("query A { o(id: 1) { b } } query B { o(id: 1) { a { n } } }")
    plans = [COMPILED.documents.plan(found, found.variables({})).plan for found in document.definitions]
    assert [[node.step.name for node in found.nodes] for found in plans] == [["b"], ["a"]]


def test_no_document_keeps_more_plans_than_allowed() -> None:
    document = read(f"query ({CONDITIONS}) {{ o(id: 1) {{ __typename {FIELDS} }} }}")
    definition = document.definition(None, is_read_only=False)
    for number in range(128):
        values = {f"v{bit}": bool(number >> bit & 1) for bit in range(7)}
        planned = COMPILED.documents.plan(definition, definition.variables(values))
        assert len(planned.plan.nodes) == (number > 0)
        assert 0 < len(COMPILED.documents.cached_plans(definition)) <= MAX_PLANS


def test_a_text_is_read_once_and_so_are_its_mistakes() -> None:
    async def act() -> None:
        generation = Generation(COMPILED.documents, {}, ReplyCache())
        for query in ("{ o(id: 1) { b } }", "{ nothing }"):
            assert generation.read(query) is generation.read(query)

    virtual.run(act())


# -- introspection

INTROSPECTION = [
    "{ __schema { queryType { name fields { name args { name type { kind ofType { name } } } } } } }",
    '{ t: __type(name: "Node") { name fields { name } } __typename o(id: 1) { __typename } }',
    "query ($n: String!, $d: Boolean!) { __type(name: $n) { ...T } } fragment T on __Type { kind name @skip(if: $d) enumValues { name } }",
    '{ ... on Query { ...Q } } fragment Q on Query { missing: __type(name: "Nope") { name } __schema { __typename } }',
    '{ __type(name: "Node") @include(if: false) { name } __schema { types { name } } }',
    '{ __type(name: "Node") { name } o(id: 1) { __typename } __type(name: "Node") { kind } }',
    get_introspection_query(),
]


@pytest.mark.parametrize("query", INTROSPECTION)
def test_introspection_gives_what_graphql_core_gives_and_costs_no_step(query: str) -> None:
    given = {"n": "Shade", "d": True} if "$n" in query else {}
    stage = Stage()
    body = perform(CONFIG, query, stage, types=TYPES, variables=given).body
    expected = execute_sync(COMPILED.documents.schema, parse(query), {"o": {}}, variable_values=given)
    assert expected.errors is None
    assert (body["data"], body["errors"]) == (expected.data, [])
    assert list(body["data"]) == list(expected.data or {})
    assert not stage.attempts


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { __typename } }",
        '{ x: __type(name: "Node") { name } }',
        "{ ...F } fragment F on Query { __schema { __typename } }",
    ],
)
def test_introspection_is_refused_in_production(query: str) -> None:
    error = refused(query, documents=PRODUCTION)
    assert (error.code, error.status) == (Code.INTROSPECTION_DISABLED, 403)
    plan("{ __typename o(id: 1) { __typename } }", documents=PRODUCTION)
    plan("{ __typename __schema @skip(if: true) { __typename } }", documents=PRODUCTION)


NULLED = "query ($d: Boolean = false) { __typename __schema { directives { args(includeDeprecated: $d) { name } } } }"


@pytest.mark.parametrize(
    ("query", "given"), [(NULLED, {"d": None}), ('query ($n: String = "Node") { __type(name: $n) { name } }', {"n": None})]
)
def test_an_introspection_that_fails_is_told(query: str, given: dict[str, object]) -> None:
    with suppress(RequestError):
        assert perform(CONFIG, query, Stage(), types=TYPES, variables=given).body["errors"]


def test_the_schema_is_what_the_configuration_says() -> None:
    expected = build_schema(f"""{TYPES} scalar JSON
      type Query {{ o(id: ID!, n: Int, tags: [String!], shade: Shade, ratio: Float): O }}
      type O {{ a: Node b: JSON }}""")
    query: Any = parse(get_introspection_query(descriptions=False))

    def types(data: Any) -> Any:
        return sorted(data["__schema"]["types"], key=lambda found: str(found["name"]))

    made = build(blueprint_of(CONFIG, TYPES))
    assert types(execute_sync(made, query).data) == types(execute_sync(expected, query).data)
