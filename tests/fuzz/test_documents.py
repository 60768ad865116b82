"""Mutated documents and variables: answered as graphql-core's executor would, or refused as its validation rules do."""

import re
from dataclasses import replace
from functools import lru_cache

import pytest
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, RequestError
from tests.fuzz import budget
from tests.oracle.executor import answer_by_executor
from tests.oracle.gateway_answer import answer_by_gateway
from tests.oracle.generate import Case, make_case

_TOKEN = re.compile(r'"""(?:.|\n)*?"""|"[^"\n]*"|\.\.\.|[A-Za-z_]\w*|[-\d.]+|\S')
_WORDS = st.sampled_from(
    [
        *"{}()[]:!$@=|&,",
        "...",
        "on",
        "query",
        "mutation",
        "fragment",
        "true",
        "null",
        "1",
        "1.5",
        '"a"',
        "__typename",
        "@skip(if: true)",
    ]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
WORLDS = 3


@st.composite
def tampered(draw: st.DrawFn) -> Case:
    """Draw one of the oracle's cases with a few words of its document moved, left out, doubled or replaced, and other variables."""
    case = make_case(draw(st.integers(0, WORLDS * 12)))
    words = _TOKEN.findall(case.query)
    for _ in range(draw(st.integers(0, 3))):
        at, there = (draw(st.integers(0, len(words) - 1)) for _ in range(2))
        end = at + draw(st.sampled_from([0, 1, 1, 1, 3, 8]))
        new = draw(
            st.one_of(_WORDS.map(lambda word: [word]), st.just(words[there : there + 4]), st.just([]), st.just([words[there]]))
        )
        words[at:end] = new
        words = words or ["{"]
    variables = dict(case.variables)
    for name in draw(st.lists(st.sampled_from([*variables, "x"]), max_size=2)):
        variables[name] = draw(_VALUES)
    return replace(case, query=" ".join(words), variables=variables)


@lru_cache(maxsize=64)
def _schema(text: str) -> GraphQLSchema:
    return build_schema(text, assume_valid=True)


def is_sound(case: Case) -> bool:
    """Tell whether graphql-core would execute a document with these variables."""
    schema = _schema(case.world.schema)
    try:
        document = parse(case.query)
    except GraphQLError:
        return False
    if validate(schema, document):
        return False
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) != 1:
        return False
    return not isinstance(get_variable_values(schema, operations[0].variable_definitions or (), dict(case.variables)), list)


def check(error: RequestError, case: Case) -> None:
    """Make sure that a refusal is a clean one, and that there is a reason for it."""
    assert error.status in {400, 405}, error
    assert error.errors
    assert not is_sound(case) or error.code in {Code.OPERATION_RESOLUTION_FAILURE, Code.BAD_USER_INPUT}, error


@pytest.mark.case("Q-11")
@budget(250)
@given(tampered())
def test_a_document_that_was_tampered_with_is_refused_or_answered_as_the_executor_does(case: Case) -> None:
    try:
        answer = answer_by_gateway(case)
    except RequestError as error:
        check(error, case)
        return
    assert is_sound(case)
    assert answer_by_executor(case).agrees(answer)


def test_the_words_of_a_case_make_the_same_document() -> None:
    for seed in range(0, WORLDS * 12, 12):
        case = make_case(seed)
        again: DocumentNode = parse(" ".join(_TOKEN.findall(case.query)))
        assert parse(case.query, no_location=True) == parse(" ".join(_TOKEN.findall(case.query)), no_location=True), again
