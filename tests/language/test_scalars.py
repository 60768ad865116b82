"""The custom scalars: each value in both directions, and what a configuration may say of types, arguments and defaults."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from graphql import GraphQLError, GraphQLScalarType, parse_value
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.language.scalars import SCALARS, accepts_any_value, attach_coercion
from gateway.load.build.build import build
from gateway.load.read.files import Files
from resolvers import STEP_TYPES

IDENTITY = "0f8fad5b-d9cb-469f-a165-70867728950e"

WRONG: dict[str, list[object]] = {
    "DateTime": [
        "2024-01-31",
        "2024-01-31T12:00:00",
        "2024-01-31 12:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-31T24:00:00Z",
        "2024-01-31T12:00:00+24:00",
        "0000-01-01T00:00:00Z",
        0,
        True,
    ],
    "Date": ["2023-02-29", "20240131", "2024-W05-3", "2024-01-31T00:00:00Z", "\u0662\u0660\u0662\u0664-01-31", 20240131, []],
    "Time": [
        "12:30",
        "24:00:00",
        "12:60:00",
        "12:30:00Z",
        "12:30:00+02:00",
        "12:30:00.",
        "12:30:00.1234567",
        "T12:30:00",
        1230,
        None,
    ],
    "Decimal": ["", "1,5", ".5", "05", "+1", "1e9999", "NaN", "Infinity", float("inf"), True, None],
    "BigInt": ["1.0", 1.5, 2**64, -(2**63) - 1, "18446744073709551616", 1e300, False, "1e3"],
    "UUID": [IDENTITY.replace("-", ""), f"{{{IDENTITY}}}", f"urn:uuid:{IDENTITY}", 5],
}


def scalar(name: str) -> GraphQLScalarType:
    declared = GraphQLScalarType(name)
    attach_coercion(declared)
    return declared


@pytest.mark.parametrize(
    ("name", "given_", "read"),
    [
        ("DateTime", "2024-01-31T12:00:00Z", "2024-01-31T12:00:00Z"),
        ("DateTime", "2024-01-31t12:00:00.25z", "2024-01-31T12:00:00.25Z"),
        ("Date", "2024-02-29", "2024-02-29"),
        ("Time", "23:59:59", "23:59:59"),
        ("Time", "00:00:00.250", "00:00:00.250"),
        ("Decimal", 5, "5"),
        ("Decimal", 0.1, "0.1"),
        ("Decimal", "1e3", "1000"),
        ("Decimal", "-0.500", "-0.500"),
        ("BigInt", 7.0, 7),
        ("BigInt", "18446744073709551615", 2**64 - 1),
        ("BigInt", -(2**63), -(2**63)),
        ("UUID", IDENTITY.upper(), IDENTITY),
    ],
)
def test_an_input_is_read(name: str, given_: object, read: object) -> None:
    found = scalar(name).coerce_input_value(given_)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [(name, wrong) for name, values in WRONG.items() for wrong in values],
)
def test_an_input_that_is_none_is_refused_with_an_example(name: str, wrong: object) -> None:
    with pytest.raises(GraphQLError, match=f"{name} cannot represent .*write it as in"):
        scalar(name).coerce_input_value(wrong)


@pytest.mark.parametrize(
    ("name", "literal", "read"),
    [
        ("Decimal", "0.10", "0.10"),
        ("Decimal", "12345678901234567890.5", "12345678901234567890.5"),
        ("BigInt", "9007199254740993", 9007199254740993),
    ],
)
def test_a_number_of_a_document_is_read_from_its_digits(name: str, literal: str, read: object) -> None:
    coerce = scalar(name).coerce_input_literal
    assert coerce is not None
    assert coerce(parse_value(literal)) == read  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "answered"),
    [
        ("DateTime", datetime(2024, 1, 31, 12, tzinfo=UTC), "2024-01-31T12:00:00+00:00"),
        ("DateTime", "2024-01-31 12:00:00.5+02", "2024-01-31T12:00:00.5+02:00"),
        ("Date", date(2024, 1, 31), "2024-01-31"),
        ("Time", time(6, 30), "06:30:00"),
        ("Time", time(6, 30, 0, 250000), "06:30:00.250000"),
        ("Decimal", Decimal("1E+3"), "1000"),
        ("BigInt", 2**53 + 1, "9007199254740993"),
        ("UUID", UUID(IDENTITY), IDENTITY),
    ],
)
def test_what_databases_and_python_have_is_answered_in_the_one_form(name: str, value: object, answered: str) -> None:
    assert scalar(name).coerce_output_value(value) == answered


@pytest.mark.parametrize("value", [datetime(2024, 1, 31, 12), "2024-01-31T12:00:00", 1706702400])  # noqa: DTZ001 - it has no offset
def test_a_time_without_an_offset_is_not_taken_for_an_instant(value: object) -> None:
    with pytest.raises(GraphQLError):
        scalar("DateTime").coerce_output_value(value)


@pytest.mark.parametrize("name", SCALARS)
@given(data=st.data())
def test_a_text_that_the_projection_lets_pass_is_one_that_coercion_leaves_as_it_is(name: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(SCALARS[name].canonical, fullmatch=True))
    assert scalar(name).coerce_output_value(text) == text


def test_a_time_with_an_offset_is_no_time_of_the_day() -> None:
    with pytest.raises(GraphQLError):
        scalar("Time").coerce_output_value(time(6, 30, tzinfo=UTC))


def test_of_another_scalar_nothing_is_known() -> None:
    assert accepts_any_value(scalar("Position"))
    assert not accepts_any_value(scalar("Date"))


def problems(folder: Path, config: str, types: str) -> list[tuple[str, str]]:
    texts = {str(folder / "a.yaml"): config, str(folder / "a.graphql"): types}
    with pytest.raises(ConfigurationError) as raised:
        build(Files(folder, texts, (), "test"), STEP_TYPES, {})
    return [(problem.code, problem.message) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("written", "code", "part"),
    [
        ("Int = ten", "bad-default", "the default does not fit: Int cannot represent"),
        ("Day = 5", "unknown-type", "unknown type 'Day'"),
        ('Date = "2023-02-29"', "bad-default", "Date cannot represent '2023-02-29'"),
        ("Size = MIDDLE", "bad-default", "'MIDDLE' does not exist in 'Size' enum"),
        ("Filter = { towm: 1 }", "bad-default", "towm"),
        ("Int! = null", "bad-default", "Int!"),
        ("Int =", "unknown-type", "is not a GraphQL type"),
        ("Int = 1 b: Int", "unknown-type", "is not a GraphQL type"),
        ("Int = 1 @deprecated", "unknown-type", "is not a GraphQL type"),
    ],
)
def test_a_default_that_does_not_fit_its_type_is_a_problem(written: str, code: str, part: str, tmp_path: Path) -> None:
    config = f"operation: a\nargs: {{ x: '{written}' }}\nsteps: [{{ name: s, type: value, value: '{{x}}' }}]"
    types = "scalar Date enum Size { BIG } input Filter { town: String }"
    ((found, message),) = problems(tmp_path, config, types)
    assert found == code
    assert part in message


def test_a_default_of_an_input_type_that_does_not_fit_is_a_problem(tmp_path: Path) -> None:
    config = "operation: a\nsteps: [{ name: s, type: value, value: 1 }]"
    types = 'scalar Date input F { at: Date = "2024-02-30" }'
    ((code, message),) = problems(tmp_path, config, types)
    assert code == "sdl-invalid"
    assert "F.at has invalid default value: Date cannot represent '2024-02-30'" in message


def test_a_path_into_an_input_type_is_checked(tmp_path: Path) -> None:
    config = "operation: a\nargs: { filter: F }\nsteps: [{ name: s, type: value, value: '{filter.place.towm}' }]"
    ((code, message),) = problems(tmp_path, config, "input F { place: P } input P { town: String }")
    assert code == "unknown-field"
    assert "did you mean 'town'" in message


def test_a_field_of_the_sdl_has_no_arguments_as_nothing_would_heed_them(tmp_path: Path) -> None:
    config = "operation: a\nsteps: [{ name: s, type: value, value: 1 }]"
    types = "type T { a(x: Int): Int b: Int }\ninterface I { c(y: Int): Int }\nextend type T { d(z: Int): Int }"
    found = problems(tmp_path, config, types)
    assert [code for code, _ in found] == ["field-arguments"] * 3
    assert "make it a link ('field: T.a' with 'args:'), or remove them" in found[0][1]
