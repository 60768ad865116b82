"""``types:`` documents → the SDL of the Python classes that they name, to be joined with that of the files."""

from collections.abc import Sequence
from importlib import import_module

from gateway.errors import Place, Problem


def read_python_types(named: Sequence[tuple[str, Place]], problems: list[Problem]) -> str:
    """Return the SDL of classes, each a path and its place; what is wrong with them is added to ``problems``. Empty without any."""
    if not named:
        return ""
    strawberry_types = import_module("gateway.language.python_types")  # it takes 60 ms to import, and few have Python classes
    classes: dict[type, Place] = {}
    for path, place in named:
        try:
            found = strawberry_types.load_class(path)
            strawberry_types.print_types([found])
            classes.setdefault(found, place)
        except ValueError as error:
            problems.append(Problem(place, "types", str(error), "bad-class"))
    try:
        text: str = strawberry_types.print_types(list(classes)) if classes else ""
    except ValueError as error:
        problems.append(Problem(next(iter(classes.values())), "types", str(error), "bad-class"))
        return ""
    return text
