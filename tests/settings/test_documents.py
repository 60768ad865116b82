"""The table of the kinds of documents: which keys tell a kind, and that it fits to the Blueprint and to what checks it."""

from dataclasses import fields

import pytest

from gateway.blueprint import Blueprint
from gateway.load.build.fields import CHECKERS
from gateway.settings import DOCUMENT_KINDS, kind_of


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"operation", "steps"}, "operation"),
        ({"operation", "overlay", "when"}, "overlay"),
        ({"operation", "when"}, "overlay"),
        ({"operation", "server"}, "operation"),
        ({"field", "server"}, "server"),
        ({"field", "types"}, "field"),
        ({"defaults"}, "sources"),
        ({"telemetry"}, "telemetry"),
        ({"steps"}, None),
        (set(), None),
    ],
)
def test_a_document_is_known_by_its_keys(keys: set[str], expected: str | None) -> None:
    kind = kind_of(keys)
    assert (kind.key if kind else None) == expected


def test_each_kind_has_the_keys_that_tell_it() -> None:
    keys = [key for kind in DOCUMENT_KINDS for key in (*kind.keys, *kind.also)]
    assert len(keys) == len(set(keys))
    assert all(kind.model.model_fields.keys() >= {*kind.keys, *kind.also} for kind in DOCUMENT_KINDS)


def test_each_kind_with_a_field_has_one_of_its_own_in_the_blueprint() -> None:
    named = [kind.field for kind in DOCUMENT_KINDS if kind.field]
    assert len(named) == len(set(named))
    assert {field.name for field in fields(Blueprint)} >= set(named)


def test_what_holds_without_the_one_document_is_what_an_empty_one_says() -> None:
    for kind in DOCUMENT_KINDS:
        if kind.default is not None:
            assert kind.model.model_validate({kind.key: {}}) == kind.model.model_validate({kind.key: kind.default})


def test_only_kinds_with_a_field_have_a_checker() -> None:
    assert {kind.key for kind in DOCUMENT_KINDS if kind.field} >= CHECKERS.keys()
