"""Configuration keys: what each accepts, and what is said of what it does not accept."""

import re
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings import (
    AggregationKeys,
    BatchKeys,
    FallbackKeys,
    Keys,
    LinkKeys,
    OperationKeys,
    SharedKeys,
    SourceKeys,
    StepKeys,
    validate,
)
from gateway.settings.mistakes import Mistake
from gateway.settings.policies import RetryKeys
from resolvers import STEP_TYPES
from resolvers.api import ApiKeys, ApiSourceKeys
from resolvers.graphql import GraphQLKeys, GraphQLSourceKeys
from resolvers.python_call import PythonKeys
from resolvers.transform import TransformKeys
from resolvers.value import ValueKeys
from resolvers.warehouse import WarehouseKeys, WarehouseSourceKeys

STEP = {"name": "x", "type": "api", "endpoint": "/x"}
OPERATION = {"operation": "a", "steps": [{"name": "x"}]}


def yaml_keys(model: type[Keys]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def step(**keys: object) -> ApiKeys:
    found = validate(ApiKeys, {**STEP, **keys})
    assert isinstance(found, ApiKeys), found
    return found


def mistakes(model: type[Keys], value: Mapping[str, object]) -> list[tuple[tuple[str | int, ...], str]]:
    found = validate(model, value)
    assert isinstance(found, list), found
    assert all(mistake.message.strip() for mistake in found)
    return [(mistake.path, mistake.code) for mistake in found]


def step_mistakes(**keys: object) -> list[tuple[tuple[str | int, ...], str]]:
    return mistakes(ApiKeys, {**STEP, **keys})


# -- what is accepted


def test_a_step_of_the_keys_that_it_must_have_has_the_defaults_of_the_others() -> None:
    found = step()
    assert (found.name, found.type, found.endpoint, found.method) == ("x", "api", "/x", "GET")
    assert (found.source, found.returns, found.as_, found.when, found.select, found.timeout_ms, found.retry) == (None,) * 7
    assert (found.expose, found.depends_on, found.fallback, found.query, found.headers, found.body) == (
        True,
        [],
        [],
        {},
        {},
        None,
    )
    assert (found.expect, found.not_found, found.idempotent) == ([], "error", False)


def test_the_yaml_key_as_has_another_name_in_python() -> None:
    assert step(**{"as": "y"}).as_ == "y"
    assert step_mistakes(as_="y") == [(("as_",), "unknown-key")]
    assert "as" in yaml_keys(StepKeys)
    assert "as_" not in yaml_keys(StepKeys)


def test_sources_have_bounds_and_retries_by_default() -> None:
    found = validate(ApiSourceKeys, {"type": "api", "base_url": "http://x"})
    assert isinstance(found, ApiSourceKeys)
    assert (found.concurrency, found.queue, found.timeout_ms, found.max_response_bytes) == (100, 100, None, 5_000_000)
    assert found.retry == RetryKeys()
    assert RetryKeys() == RetryKeys(attempts=2, errors=["connect", "reset", 502, 503, 504], base_ms=50, cap_ms=2000)
    warehouse = validate(WarehouseSourceKeys, {"type": "warehouse", "url": "sqlite:///x"})
    assert isinstance(warehouse, WarehouseSourceKeys)
    assert (warehouse.pool, warehouse.max_rows) == (4, 10_000)


def test_an_operation_has_a_deadline_by_default() -> None:
    found = validate(OperationKeys, OPERATION)
    assert isinstance(found, OperationKeys)
    assert (found.deadline_ms, found.concurrency, found.args, found.type) == (30_000, None, None, None)
    assert found.aggregation == AggregationKeys(strategy="merge", step=None, required_steps=[])


@pytest.mark.parametrize("name", ["a", "A9", "_", "_x", "customer360", "no", "x" * 500])
def test_a_name_is_a_graphql_name(name: str) -> None:
    assert step(name=name).name == name


@pytest.mark.parametrize("name", ["", "9a", "a-b", "a.b", "a b", "ä", "a\n", "\na", "{a}", "$a"])
def test_what_is_no_graphql_name_is_no_name(name: str) -> None:
    assert step_mistakes(name=name) == [(("name",), "bad-value")]


@pytest.mark.parametrize("value", [1, 3_600_000])
def test_times_are_whole_milliseconds_up_to_an_hour(value: int) -> None:
    assert step(timeout_ms=value).timeout_ms == value


@pytest.mark.parametrize("value", [0, -1, 3_600_001])
def test_a_number_out_of_bounds_is_a_bad_value(value: int) -> None:
    assert step_mistakes(timeout_ms=value) == [(("timeout_ms",), "bad-value")]


@pytest.mark.parametrize("value", [1.5, 500.0, "500", "1s", True, [], {}])
def test_what_is_no_whole_number_is_of_the_wrong_type(value: object) -> None:
    assert step_mistakes(timeout_ms=value) == [(("timeout_ms",), "wrong-type")]


@pytest.mark.parametrize("error", ["connect", "reset", "timeout", 100, 429, 503, 599])
def test_a_retry_names_classes_and_statuses(error: object) -> None:
    retry = step(retry={"errors": [error]}).retry
    assert retry is not None
    assert retry.errors == [error]


@pytest.mark.parametrize("error", ["time_out", "503", 99, 600, 5.03, None, True])
def test_no_other_error_is_retried(error: object) -> None:
    assert {path for path, _ in step_mistakes(retry={"errors": ["connect", error]})} == {("retry", "errors", 1)}


@pytest.mark.parametrize("error", ["time_out", "503", 99, True])
def test_a_wrong_error_is_one_mistake(error: object) -> None:
    assert len(step_mistakes(retry={"errors": [error]})) == 1


@pytest.mark.parametrize("attempts", [1, 10])
def test_attempts_are_one_to_ten(attempts: int) -> None:
    retry = step(retry={"attempts": attempts}).retry
    assert retry is not None
    assert retry.attempts == attempts


@pytest.mark.parametrize("attempts", [0, 11, -1])
def test_no_other_number_of_attempts_is_made(attempts: int) -> None:
    assert step_mistakes(retry={"attempts": attempts}) == [(("retry", "attempts"), "bad-value")]


def test_the_value_null_of_a_fallback_is_a_value() -> None:
    found = step(fallback=[{"value": None}, {"step": "y"}, {}, {"value": {"a": [1]}}])
    assert [entry.model_fields_set for entry in found.fallback] == [{"value"}, {"step"}, set(), {"value"}]


def test_not_found_is_null_or_an_error() -> None:
    assert step(not_found=None).not_found is None
    assert step(not_found="error").not_found == "error"
    assert step_mistakes(not_found="nil") == [(("not_found",), "bad-value")]


# -- where mistakes are


@pytest.mark.parametrize(
    ("keys", "path", "code"),
    [
        ({"endpoint": None}, ("endpoint",), "wrong-type"),
        ({"endpoint": ""}, ("endpoint",), "bad-value"),
        ({"nope": 1}, ("nope",), "unknown-key"),
        ({"retry": 3}, ("retry",), "wrong-type"),
        ({"retry": {"nope": 3}}, ("retry", "nope"), "unknown-key"),
        ({"retry": {"attempts": "3"}}, ("retry", "attempts"), "wrong-type"),
        ({"retry": {"errors": 503}}, ("retry", "errors"), "wrong-type"),
        ({"fallback": "cache"}, ("fallback",), "wrong-type"),
        ({"fallback": ["cache"]}, ("fallback", 0), "wrong-type"),
        ({"fallback": [{"value": 1}, {"setp": "y"}]}, ("fallback", 1, "setp"), "unknown-key"),
        ({"fallback": [{"step": "a-b"}]}, ("fallback", 0, "step"), "bad-value"),
        ({"depends_on": "y"}, ("depends_on",), "wrong-type"),
        ({"depends_on": ["y", 5]}, ("depends_on", 1), "wrong-type"),
        ({"headers": {"a": 5}}, ("headers", "a"), "wrong-type"),
        ({"headers": {"a": ""}}, ("headers", "a"), "bad-value"),
        ({"headers": ["a"]}, ("headers",), "wrong-type"),
        ({"query": "a=b"}, ("query",), "wrong-type"),
        ({"expect": [200, "2xx"]}, ("expect", 1), "wrong-type"),
        ({"expect": [200, 99]}, ("expect", 1), "bad-value"),
        ({"method": "get"}, ("method",), "bad-value"),
        ({"expose": "no"}, ("expose",), "wrong-type"),
        ({"expose": 0}, ("expose",), "wrong-type"),
        ({"returns": ["Post"]}, ("returns",), "wrong-type"),
        ({"as": "a-b"}, ("as",), "bad-value"),
        ({"when": True}, ("when",), "wrong-type"),
        ({"when": ""}, ("when",), "bad-value"),
    ],
)
def test_a_mistake_has_the_path_of_the_wrong_value(keys: dict[str, object], path: tuple[str | int, ...], code: str) -> None:
    assert step_mistakes(**keys) == [(path, code)]


def test_all_mistakes_of_a_mapping_come_at_once() -> None:
    found = mistakes(ApiKeys, {"name": 5, "type": "api", "timeout": 1, "retry": {"attempts": 0}})
    assert sorted(found, key=str) == [
        (("endpoint",), "missing-key"),
        (("name",), "wrong-type"),
        (("retry", "attempts"), "bad-value"),
        (("timeout",), "unknown-key"),
    ]


@pytest.mark.parametrize(
    ("model", "value", "path"),
    [
        (OperationKeys, {**OPERATION, "args": {"a-b": "ID"}}, ("args", "a-b")),
        (SharedKeys, {"sources": {"a-b": {}}}, ("sources", "a-b")),
        (SharedKeys, {"defaults": {"": "core"}}, ("defaults", "")),
        (ApiKeys, {**STEP, "query": {"": 1}}, ("query", "")),
    ],
)
def test_a_mistake_in_a_key_is_about_the_key(model: type[Keys], value: dict[str, object], path: tuple[str, ...]) -> None:
    (mistake,) = validate(model, value)
    assert isinstance(mistake, Mistake)
    assert (mistake.path, mistake.code, mistake.is_about_key) == (path, "bad-value", True)


@pytest.mark.parametrize(
    ("model", "value", "hint"),
    [
        (ApiKeys, {**STEP, "timeout": 1}, "'timeout_ms'"),
        (ApiKeys, {**STEP, "header": {}}, "'headers'"),
        (ApiKeys, {**STEP, "dependson": []}, "'depends_on'"),
        (ApiKeys, {**STEP, "retry": {"attempt": 1}}, "'attempts'"),
        (ApiKeys, {**STEP, "fallback": [{"valeu": 1}]}, "'value'"),
        (OperationKeys, {**OPERATION, "deadline": 1}, "'deadline_ms'"),
        (OperationKeys, {**OPERATION, "aggregation": {"required_step": []}}, "'required_steps'"),
        (SharedKeys, {"sources": {}, "default": {}}, "'defaults'"),
        (ApiSourceKeys, {"type": "api", "base_url": "x", "retry": {"bas_ms": 1}}, "'base_ms'"),
    ],
)
def test_a_misspelt_key_of_every_level_gets_the_nearest_one_of_that_level(
    model: type[Keys], value: dict[str, object], hint: str
) -> None:
    (mistake,) = validate(model, value)
    assert isinstance(mistake, Mistake)
    assert (mistake.code, mistake.is_about_key) == ("unknown-key", True)
    assert f"did you mean {hint}?" in mistake.message


def test_a_key_like_no_other_gets_the_list_of_keys_as_yaml_writes_them() -> None:
    (mistake,) = validate(RetryKeys, {"zzz": 1})
    assert isinstance(mistake, Mistake)
    assert mistake.message == "unknown key 'zzz'; known keys: attempts, errors, base_ms, cap_ms, budget_percent, budget_min"


def test_a_key_of_any_length_makes_a_message_that_can_be_read() -> None:
    (mistake,) = validate(RetryKeys, {"z" * 100_000: 1})
    assert isinstance(mistake, Mistake)
    assert len(mistake.message) < 200


# -- what holds for every model


MODELS = [ApiKeys, WarehouseKeys, ValueKeys, GraphQLKeys, TransformKeys, PythonKeys]
MODELS += [ApiSourceKeys, WarehouseSourceKeys, GraphQLSourceKeys, LinkKeys, BatchKeys]
MODELS += [RetryKeys, FallbackKeys, StepKeys, SourceKeys, AggregationKeys, OperationKeys, SharedKeys]


def test_every_model_of_a_step_type_is_looked_at_here() -> None:
    used = {model for step_type in STEP_TYPES.values() for model in (step_type.keys, step_type.source_keys) if model}
    assert used <= set(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_says_what_it_does_and_nothing_is_guessed_or_changed(model: type[Keys]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
    assert (model.model_config["extra"], model.model_config["strict"], model.model_config["frozen"]) == ("forbid", True, True)
    assert all(re.fullmatch(r"[a-z_]+", key) for key in yaml_keys(model))


def schema_texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from schema_texts(item)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_has_a_json_schema_for_editors(model: type[Keys]) -> None:
    schema = model.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(yaml_keys(model))
    assert "as_" not in set(schema_texts(schema))


YAML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 1000)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "api", "merge", "a-b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["step", "value", "errors", "x", "attempts"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), model=st.sampled_from(MODELS))
def test_any_mapping_is_a_model_or_mistakes_whose_paths_lead_into_it(data: st.DataObject, model: type[Keys]) -> None:
    keys = st.sampled_from([*yaml_keys(model), "unknown"])
    value = data.draw(st.dictionaries(keys, YAML_VALUES, max_size=6))
    found = validate(model, value)
    for mistake in found if isinstance(found, list) else ():
        assert mistake.message.strip()
        inner: object = value
        for part in mistake.path[:-1]:
            assert isinstance(inner, dict | list)
            inner = inner[part]  # type: ignore[index]
