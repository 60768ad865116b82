"""``types:`` documents → the SDL of the Python classes that they name, to be joined with that of the files."""

from collections.abc import Sequence

from gateway.errors import Place, Problem
from gateway.strawberry_types import load_class, print_types


def read_python_types(named: Sequence[tuple[str, Place]], problems: list[Problem]) -> str:
    """Return the SDL of classes, each a path and its place; what is wrong with them is added to ``problems``. Empty without any."""
    classes: dict[type, Place] = {}
    for path, place in named:
        try:
            found = load_class(path)
            print_types([found])
            classes.setdefault(found, place)
        except ValueError as error:
            problems.append(Problem(place, "types", str(error), "bad-class"))
    try:
        return print_types(list(classes)) if classes else ""
    except ValueError as error:
        problems.append(Problem(next(iter(classes.values())), "types", str(error), "bad-class"))
        return ""
