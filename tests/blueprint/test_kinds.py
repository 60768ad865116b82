"""Where kinds of things are named: a new kind touches these files, and no other has to know."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from gateway.blueprint import step
from gateway.load.check.composite import STRATEGIES
from gateway.settings import FallbackKeys
from gateway.settings.parts import AggregationKeys

ROOT = Path(__file__).parent.parent.parent

FALLBACK_FILES = {
    "gateway/blueprint/step.py",  # what a kind answers
    "gateway/settings/parts.py",  # its key
    "gateway/load/check/fallback.py",  # the key → the kind
    "gateway/run/fallback.py",  # the value that it gives
}

STRATEGY_FILES = {
    "gateway/settings/parts.py",  # its word
    "gateway/load/check/composite.py",  # its type, and where its fields come from
    "gateway/answer/projection.py",  # its value, where that is more than a step's or the fields that composites have
}
WRITERS_OF_CONFIGURATION = {
    "gateway/develop/importing/database/configuration.py",
    "gateway/develop/importing/graphql_endpoint.py",
    "gateway/develop/importing/openapi/operations.py",
}
# JMESPath has a 'flatten' of its own.
JMESPATH = {f"gateway/language/{name}.py" for name in ("expression", "evaluation", "multiplication")}


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Yield all modules of the gateway by their paths."""
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def names(tree: ast.AST) -> set[str]:
    """Return the names, attributes and whole texts of a module, docstrings and messages aside."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return found | {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def naming(words: set[str]) -> set[str]:
    """Return the modules that have any of some words."""
    return {path for path, tree in trees() if names(tree) & words}


# -- fallbacks


def test_only_four_files_know_which_kinds_of_fallback_there_are() -> None:
    kinds = {kind.__name__ for kind in step.Fallback.__subclasses__()}
    assert kinds == {"FallbackStep", "FallbackValue", "FallbackStale"}
    assert naming(kinds) == FALLBACK_FILES - {"gateway/settings/parts.py"}


def test_nobody_goes_by_the_word_for_a_kind_of_fallback() -> None:
    assert naming({"stale", "stale_ms"}) <= FALLBACK_FILES


def test_a_kind_of_fallback_is_data_under_its_key() -> None:
    kinds = (step.FallbackStep("other"), step.FallbackValue(0), step.FallbackStale(1.5))
    assert [kind.data() for kind in kinds] == [{"step": "other"}, {"value": 0}, {"stale_ms": 1500}]
    assert [key for kind in kinds for key in kind.data()] == list(FallbackKeys.model_fields)


def test_a_masked_fallback_shows_no_constant() -> None:
    kinds = (step.FallbackStep("other"), step.FallbackValue("secret"), step.FallbackStale(1.5))
    assert [kind.data("…") for kind in kinds] == [{"step": "other"}, {"value": "…"}, {"stale_ms": 1500}]
    assert [kind.describe("…") for kind in kinds] == ["other", "a constant", "stale up to 1500 ms"]
    assert [kind.describe() for kind in kinds] == ["other", "the constant secret", "stale up to 1500 ms"]


def test_only_a_constant_cannot_fail_and_only_an_earlier_value_is_kept() -> None:
    kinds = (step.FallbackStep("other"), step.FallbackValue(0), step.FallbackStale(1.5))
    assert [kind.can_fail for kind in kinds] == [True, False, True]
    assert [kind.keeps_replies for kind in kinds] == [False, False, True]


# -- aggregation strategies


def test_only_three_files_know_which_strategies_there_are() -> None:
    assert naming(set(STRATEGIES)) - WRITERS_OF_CONFIGURATION - JMESPATH <= STRATEGY_FILES


def test_nobody_goes_by_the_name_of_a_strategy_who_does_not_show_it() -> None:
    found = {
        path
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "name" and ast.unparse(node.value).endswith("strategy")
    }
    assert found - STRATEGY_FILES == {"gateway/blueprint/view.py", "gateway/cli/author/check.py"}


def test_each_word_for_a_strategy_has_its_class() -> None:
    assert tuple(STRATEGIES) == get_args(AggregationKeys.model_fields["strategy"].annotation)
