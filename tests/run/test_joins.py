"""Parents → keys → what was found: a field is read from objects of every kind, whatever its name is."""

from itertools import permutations
from typing import Any

import pytest

from gateway.contract.shape import Shaped, object_type
from gateway.run.joins import LinkResult, parents_at

NAMES = [name for name in dir(dict) if not name.startswith("_")]
"""Field names that are methods of a dictionary, too."""


def decoded(name: str, value: object) -> Shaped:
    """Return an object that was decoded with a shape."""
    made: Any = object_type("Page", [(name, Any, False)])
    shaped: Shaped = made(**{name: value})
    return shaped


@pytest.mark.parametrize("name", [*NAMES, "entries", "class_", "title"])
def test_a_field_is_read_from_decoded_objects_and_dictionaries_side_by_side(name: str) -> None:
    objects = [decoded(name, {"id": 1}), {name: {"id": 2}}, {"other": 0}, decoded(name, None)]
    for order in permutations(objects):
        result = LinkResult({})
        result.values = {(str(index),): value for index, value in enumerate(order)}
        expected = [item.get(name) if isinstance(item, dict) else getattr(item, name) for item in order]
        assert parents_at(result, (name,)) == [item for item in expected if item is not None]
