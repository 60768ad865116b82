"""``types:`` documents → the SDL of the Python classes that they name, which is merged with that of the files."""

from collections.abc import Sequence
from importlib import import_module

from gateway.errors import Place, Problem


def read_python_types(paths: Sequence[tuple[str, Place]], problems: list[Problem]) -> str:
    """Return the SDL of classes, given by import path and place; empty without any. Problems with them are added to ``problems``."""
    if not paths:
        return ""
    strawberry_types = import_module(
        "gateway.language.python_types"
    )  # takes 60 ms to import, and few configurations have Python classes
    classes: dict[type, Place] = {}
    for path, place in paths:
        try:
            loaded = strawberry_types.load_class(path)
            # Each is printed alone first, so that a problem is reported at the place of its own class.
            strawberry_types.print_types([loaded])
            classes.setdefault(loaded, place)
        except ValueError as error:
            problems.append(Problem(place, "types", str(error), "bad-class"))
    try:
        text: str = strawberry_types.print_types(list(classes)) if classes else ""
    except ValueError as error:
        problems.append(Problem(next(iter(classes.values())), "types", str(error), "bad-class"))
        return ""
    return text
