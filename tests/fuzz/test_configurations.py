"""Whatever stands in a configuration, it loads, or every problem of it is told with a place in a file: never a traceback."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given

from gateway.blueprint import Blueprint
from gateway.errors import ConfigurationError
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.schema.build import build_schema
from gateway.serve.generation.generation import open_generation
from resolvers import STEP_TYPES
from tests.fuzz import budget
from tests.fuzz.configurations import SOUND, Variation, generated, grafted, mutated

FOLDER = Path("schema_configs")


def load(texts: Mapping[str, str]) -> bool:
    """Load a configuration and make its schema; tell whether it is sound. What is wrong with it must be told as it should be."""
    try:
        blueprint = build(Files(FOLDER, texts, (), "fuzz"), STEP_TYPES, {})
    except ConfigurationError as error:
        check(error, texts)
        return False
    build_schema(blueprint)
    return True


def check(error: ConfigurationError, texts: Mapping[str, str]) -> None:
    """Make sure that each problem says where it is, in what, and what is wrong."""
    assert error.problems
    for problem in error.problems:
        lines = texts[problem.place.file].splitlines() if problem.place.file in texts else None
        assert lines is not None or problem.place.file == str(FOLDER), problem
        assert 1 <= problem.place.line <= max(1, len(lines or ())) + 1, problem
        assert problem.place.column >= 1, problem
        assert problem.code.replace("-", "").isalnum(), problem
        assert problem.subject.strip(), problem
        assert problem.message.strip(), problem
        assert len(problem.message) < 1_000, problem
        assert "\n" not in problem.message, problem


@pytest.mark.case("I-09")
@budget(100)
@given(mutated())
def test_a_configuration_with_pieces_changed_loads_or_is_refused_with_places(variation: Variation) -> None:
    load(variation.texts)


@pytest.mark.case("I-09")
@budget(100)
@given(grafted())
def test_a_configuration_with_values_changed_loads_or_is_refused_with_places(variation: Variation) -> None:
    load(variation.texts)


@pytest.mark.case("I-09")
@budget(100)
@given(generated())
def test_a_configuration_of_random_words_loads_or_is_refused_with_places(variation: Variation) -> None:
    load(variation.texts)


def test_what_the_mutations_start_from_is_sound_and_can_be_served() -> None:
    async def opened(blueprint: Blueprint) -> None:
        async with open_generation(blueprint, STEP_TYPES) as generation:
            assert generation.schema.query_type is not None

    for texts in SOUND:
        assert load(texts)
        asyncio.run(opened(build(Files(FOLDER, texts, (), "fuzz"), STEP_TYPES, {})))
