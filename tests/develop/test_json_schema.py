"""The JSON Schema of the YAML: it takes every document that the gateway takes, and refuses the slips that the gateway refuses."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from gateway.develop.reference.json_schema import document_schema
from gateway.load.read.yaml_source import YamlDocument, read_documents
from gateway.settings import Keys
from resolvers import STEP_TYPES
from tests.settings.test_mistakes import SLIPS

SCHEMA = document_schema(STEP_TYPES)
CHECKER = jsonschema.Draft202012Validator(SCHEMA)


class Unreplaced(dict[str, str]):
    """An environment in which every placeholder stands for itself, as an editor sees it."""

    def get(self, name: str, default: object = None) -> str:
        return f"${{{name}}}"


def documents(text: str) -> list[YamlDocument]:
    found, problems = read_documents("a.yaml", text, Unreplaced())
    assert problems == []
    return found


def texts() -> Iterator[tuple[str, str]]:
    for path in sorted(Path("schema_configs").rglob("*.yaml")):
        yield str(path), path.read_text(encoding="utf-8")
    (configuration,) = re.findall(r"```yaml\n(sources:.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL)
    yield "README.md", configuration
    for path in sorted(Path("tests/cases").glob("*.md")):
        (page,) = re.findall(r"^```yaml config\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        yield path.name, page


TEXTS = dict(texts())


def mistakes(value: object) -> list[str]:
    return [error.message for error in CHECKER.iter_errors(value)]


def test_it_is_a_schema_of_draft_2020_12() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", TEXTS)
def test_every_document_that_is_served_is_accepted(name: str) -> None:
    found = documents(TEXTS[name])
    assert found
    for document in found:
        assert mistakes(document.value) == []


REFUSED = [slip for slip, message in SLIPS.items() if "${" not in slip and "unquoted-reference" not in message]


@pytest.mark.parametrize("slip", REFUSED)
def test_what_the_gateway_refuses_by_its_keys_and_types_is_refused(slip: str) -> None:
    assert any(mistakes(document.value) for document in documents(slip))


@pytest.mark.parametrize(
    "document",
    ["{}", "foo: 1", "operation: one", "field: Post.user", "sources: { core: { type: value } }", "defaults: { value: core }"],
)
def test_what_is_no_kind_of_document_is_refused(document: str) -> None:
    assert mistakes(yaml.safe_load(document))


@pytest.mark.parametrize(
    "keys",
    [
        {"timeout_ms": "${TIMEOUT}"},
        {"timeout_ms": "${TIMEOUT:-500}"},
        {"timeout_ms": "${SECONDS_}000"},
        {"expose": "${EXPOSE:-true}"},
        {"method": "${METHOD}"},
        {"retry": {"attempts": "${ATTEMPTS}", "errors": ["connect", "${STATUS}"]}},
        {"as": "${FIELD}"},
    ],
)
def test_a_placeholder_stands_for_every_number_word_and_name(keys: dict[str, Any]) -> None:
    step = {"name": "a", "type": "api", "endpoint": "/a", **keys}
    assert mistakes({"operation": "one", "steps": [step]}) == []


def test_a_text_that_is_no_placeholder_is_no_number() -> None:
    for text in ("500", "${}", "${1}", "$TIMEOUT", "{TIMEOUT}"):
        step = {"name": "a", "type": "api", "endpoint": "/a", "timeout_ms": text}
        assert mistakes({"operation": "one", "steps": [step]})


def test_the_step_of_a_link_needs_no_name_and_that_of_an_operation_does() -> None:
    step = {"type": "api", "endpoint": "/users/{parent.userId}"}
    assert mistakes({"field": "Post.user", "returns": "User", "step": step}) == []
    assert mistakes({"operation": "one", "steps": [step]})


def test_the_step_of_a_link_has_no_keys_of_an_operations_step_and_the_other_way_round() -> None:
    link = {"type": "api", "endpoint": "/users", "when": "a"}
    assert mistakes({"field": "Post.user", "returns": "User", "step": link})
    step = {"name": "a", "type": "api", "endpoint": "/users", "batch": {"key": "id", "match": "id"}}
    assert mistakes({"operation": "one", "steps": [step]})


def test_the_keys_of_another_step_type_are_refused() -> None:
    assert mistakes({"operation": "one", "steps": [{"name": "a", "type": "warehouse", "query": "SELECT 1", "endpoint": "/a"}]})


def nodes(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
    for key, item in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from nodes(item, (*path, str(key)))


def test_every_key_is_described() -> None:
    for path, node in nodes(SCHEMA):
        if len(path) > 1 and path[-2] == "properties":
            assert node.get("description"), f"{'.'.join(path)} has no docstring"


def test_every_example_of_a_key_is_one() -> None:
    for name, definition in SCHEMA["$defs"].items():
        for key, node in definition.get("properties", {}).items():
            for example in node.get("examples", ()):
                checker = CHECKER.evolve(schema={**node, "$defs": SCHEMA["$defs"]})
                assert not list(checker.iter_errors(example)), f"{name}.{key}: {example}"


def test_every_default_is_a_value_of_its_key() -> None:
    for name, definition in SCHEMA["$defs"].items():
        for key, node in definition.get("properties", {}).items():
            if "default" in node:
                checker = CHECKER.evolve(schema={**node, "$defs": SCHEMA["$defs"]})
                assert not list(checker.iter_errors(node["default"])), f"{name}.{key}"


def test_nothing_but_words_of_json_schema_is_in_it() -> None:
    known = {*jsonschema.Draft202012Validator.VALIDATORS, "$schema", "$defs", "title", "description", "default", "examples"}
    for path, node in nodes(SCHEMA):
        if (path[-1:] and path[-1] in {"properties", "$defs", "default"}) or "default" in path or "examples" in path:
            continue
        assert set(node) <= known, path


def test_every_model_is_in_it() -> None:
    """A new kind of document, or a new part of one, is not to be forgotten in `DOCUMENT_KINDS`. What only others are made from is none."""
    described = {definition["description"] for definition in SCHEMA["$defs"].values()}
    for model in all_models(Keys):
        if not is_of_tests(model) and all(map(is_of_tests, model.__subclasses__())):
            assert " ".join((model.__doc__ or "").replace("``", "`").split()) in described, model


def is_of_tests(model: type[Keys]) -> bool:
    return model.__module__.startswith("tests.")


def all_models(model: type[Keys]) -> Iterator[type[Keys]]:
    for other in model.__subclasses__():
        yield other
        yield from all_models(other)


def test_the_command_prints_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway", "schema", str(tmp_path / "no-such-folder"), "--config"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == SCHEMA
