"""The reference of the configuration: complete, up to date, and of examples that hold. `pytest --update` renews the committed page."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.develop.reference.page import COMMAND, reference_page, reference_sections
from gateway.load.read.decode import decode
from gateway.load.read.yaml_source import read_documents
from gateway.settings import DOCUMENT_KINDS, Keys, SourceKeys, StepKeys, json_schema, validate
from gateway.settings.cases import CaseKeys
from resolvers import STEP_TYPES

PAGE = Path("schema_configs/REFERENCE.md")
SECTIONS = {section.names[0]: section for section in reference_sections(STEP_TYPES)}
STEP_MODELS = [step_type.keys for step_type in STEP_TYPES.values()]
SOURCE_MODELS = [step_type.source_keys for step_type in STEP_TYPES.values() if step_type.source_keys]
MODELS: list[type[Keys]] = [
    *(kind.model for kind in DOCUMENT_KINDS),
    CaseKeys,
    StepKeys,
    SourceKeys,
    *STEP_MODELS,
    *SOURCE_MODELS,
]


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "gateway", *arguments], capture_output=True, text=True, check=False)


def test_the_committed_page_is_up_to_date(update: bool) -> None:
    page = reference_page(STEP_TYPES)
    if update:
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page, f"renew it: {COMMAND}"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_of_every_model_has_a_row_with_its_meaning(model: type[Keys]) -> None:
    schema = json_schema(model)
    for part in [schema, *schema.get("$defs", {}).values()]:
        for key in part["properties"]:
            rows = re.findall(rf"^\| `{key}` \| (.+) \| (.*) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
            assert rows, f"{key} has no row"
            assert all(takes.strip() and meaning.strip() for takes, _, meaning in rows), f"{key} has no meaning"


def test_required_keys_and_defaults_are_told() -> None:
    assert "| `endpoint` | a text | **required** |" in SECTIONS["api"].body
    assert "| `errors` | a list of which each is one of connect, reset, timeout" in SECTIONS["retry"].body
    assert "| `[connect, reset, 502, 503, 504]` |" in SECTIONS["retry"].body
    assert "an attempt has 5000 ms" in SECTIONS["api"].body


def test_every_kind_has_an_example() -> None:
    without = {"documents", "step", "source", "parts", "tests"}
    assert [name for name, section in SECTIONS.items() if "```yaml" not in section.body and name not in without] == []


def test_the_examples_of_documents_can_be_decoded() -> None:
    for model in (kind.model for kind in DOCUMENT_KINDS):
        documents, problems = read_documents("example.yaml", model.example, {})
        assert [*problems, *decode(documents, STEP_TYPES).problems] == []


@pytest.mark.parametrize("model", [*STEP_MODELS, *SOURCE_MODELS], ids=lambda model: model.__name__)
def test_the_examples_of_steps_and_sources_are_sound(model: type[Keys]) -> None:
    example = yaml.safe_load(model.example)
    ((found),) = example if isinstance(example, list) else example.values()
    assert not isinstance(validate(model, found), list)


def test_the_examples_of_parts_are_sound() -> None:
    parts = {name: model for found in MODELS for name, model in part_models(found).items()}
    assert {"RetryKeys", "FallbackKeys", "BatchKeys", "AggregationKeys"} <= set(parts)
    for model in parts.values():
        ((value),) = yaml.safe_load(model.example).values()
        for entry in value if isinstance(value, list) else [value]:
            assert not isinstance(validate(model, entry), list), model


def models_below(model: type[Keys]) -> Iterator[type[Keys]]:
    for found in model.__subclasses__():
        yield from (found, *models_below(found))


def part_models(model: type[Keys]) -> dict[str, type[Keys]]:
    wanted = json_schema(model).get("$defs", {})
    return {found.__name__: found for found in models_below(Keys) if found.__name__ in wanted}


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    page = reference_page(STEP_TYPES)
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#(.*?)\)", page)) <= anchors
    assert len(set(headings)) == len(headings)


def test_the_command_prints_the_page_or_a_part_of_it() -> None:
    assert command("reference").stdout == reference_page(STEP_TYPES)
    part = command("reference", "retry").stdout
    assert part.startswith("### `retry:`")
    assert "| `attempts` |" in part
    assert "| `endpoint` |" not in part
    assert command("reference", "defaults").stdout == command("reference", "sources").stdout


def test_a_part_that_there_is_not_is_told_with_the_nearest() -> None:
    done = command("reference", "retyr")
    assert done.returncode == 1
    assert "the reference has no 'retyr'; did you mean 'retry'?" in done.stderr
