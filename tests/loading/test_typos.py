"""A first-time user who mistypes a key, a name, a type or a path is told where and what to write instead."""

import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError, Problem
from gateway.load.build.build import build
from gateway.load.read.files import Files
from resolvers import STEP_TYPES
from tests.kit.typos import Typo, reference, shipped, typos

CONFIGURATIONS = {"shipped": shipped(), "reference": reference()}
HOW_MANY = 160

A_STEP = r"(operation/|overlay/)steps\[\]|field/step"
CANNOT_BE_KNOWN = {
    r".*/description": "text for people",
    r"operation/operation|overlay/overlay|(operation|overlay)/steps\[\]\.(name|as)": "a name that is given here and asked for nowhere",
    r"field/field": "the name of a field that is given here",
    rf"({A_STEP})\.endpoint|sources/sources\.\w+\.(base_url|url)": "a path or a host: only the service knows its own",
    rf"({A_STEP})\.(query|params|body|inputs)\.\w+:": "a name that only the service knows",
    r"sources/sources\.\w+\.headers\.\w+:|context/context\.\w+": "the name of a header",
    rf"({A_STEP})\.query": "a table, a column or a field: only the database or the upstream knows",
    rf"({A_STEP})\.(fallback\[\]\.)?value.*": "a constant",
    r"overlay/when\.\w+": "a value that a request may have",
    r"sdl": "a type, field or enum value that nothing in the configuration refers to",
}
"""Where a text may be anything, as far as its file tells. A typo there can make another, sound configuration."""
REFERENCES_OF_OTHERS = {
    r"sources/sources\.\w+\.headers\.\w+": "the name of a header of the request",
    r"sources/sources\.\w+\.(base_url|url)": "the name of a variable of the environment that has a default",
    rf"({A_STEP})\.query": "the field of an upstream GraphQL service",
    r"operation/steps\[\]\.select": "a name that an expression gives, or a field of the items of a list",
}
"""The same for names in braces."""
LITERAL = r".*\.when"


def problems(texts: Mapping[str, str], typo: Typo) -> tuple[Problem, ...]:
    try:
        build(Files(Path("schema_configs"), {**texts, typo.file: typo.text}, (), "test"), STEP_TYPES, {})
    except ConfigurationError as error:
        return error.problems
    return ()


def is_there(problem: Problem, typo: Typo) -> bool:
    """Tell whether a problem stands where the typo is."""
    return problem.place.file == typo.file and typo.begins <= problem.place.line <= typo.line


def is_told(problem: Problem, typo: Typo, texts: Mapping[str, str]) -> bool:
    """Tell whether a problem stands where the typo is, or where what it has broken is asked for, and names what was meant."""
    lines = {**texts, typo.file: typo.text}[problem.place.file].splitlines()
    word = re.compile(rf"\b({re.escape(typo.original)})\b")
    is_mentioned = problem.place.line > 0 and word.search(lines[problem.place.line - 1]) is not None
    return (is_there(problem, typo) or is_mentioned) and word.search(problem.message) is not None


def cannot_be_known(typo: Typo) -> bool:
    if re.fullmatch(LITERAL, typo.path) and f"'{typo.mistyped}" in typo.text.splitlines()[typo.line - 1]:
        return True
    kinds = REFERENCES_OF_OTHERS if typo.is_reference and typo.path != "sdl" else CANNOT_BE_KNOWN
    return any(re.fullmatch(kind, typo.path) for kind in kinds)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_typo_is_told_with_its_place_and_what_was_meant(name: str) -> None:
    texts = CONFIGURATIONS[name]
    chosen = random.Random(name)
    untold = []
    for typo in chosen.sample(list(typos(texts, chosen)), HOW_MANY):
        found = problems(texts, typo)
        # What cannot be known may be a mistake all the same, where a language is broken: then its place is enough.
        is_known = not cannot_be_known(typo)
        is_found = any(is_told(problem, typo, texts) or (not is_known and is_there(problem, typo)) for problem in found)
        if not is_found and (found or is_known):
            told = "".join(f"\n      {problem}" for problem in found)
            untold.append(
                f"{typo.file}:{typo.line} {typo.path} '{typo.original}' as '{typo.mistyped}'{told or ' is nothing to complain about'}"
            )
    assert not untold, "\n".join(untold)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_without_a_typo_there_is_no_problem(name: str) -> None:
    texts = CONFIGURATIONS[name]
    file, text = next(iter(texts.items()))
    assert problems(texts, Typo(file, 1, 1, "", "", "", is_reference=False, text=text)) == ()


def test_every_place_where_nothing_can_be_known_is_one_that_there_is() -> None:
    paths = {typo.path for texts in CONFIGURATIONS.values() for typo in typos(texts, random.Random(0))}
    for kind in (*CANNOT_BE_KNOWN, *REFERENCES_OF_OTHERS):
        assert any(re.fullmatch(kind, path) for path in paths), kind
