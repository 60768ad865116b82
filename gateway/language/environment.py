"""``${NAME}`` references ↔ the values of environment variables. Output for people shows the reference: the value may be a secret."""

import re
from collections.abc import Iterable, Mapping

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MIN_SECRET_LENGTH = 8
"""Shorter values are not treated as secrets: they occur inside too many words."""


def variables_in(texts: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the variables that texts refer to, each mapped to its reference; the longest value comes first."""
    names = {match[1] for text in texts if "${" in text for match in VARIABLE.finditer(text)}
    values = {environment[name]: f"${{{name}}}" for name in sorted(names) if len(environment.get(name, "")) >= _MIN_SECRET_LENGTH}
    # as_written replaces in this order: a short value may be part of a longer one.
    return dict(sorted(values.items(), key=lambda item: -len(item[0])))


def restore_references(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with the values of variables replaced by their references; ``variables`` comes from :func:`variables_in`."""
    for value, reference in variables.items():
        text = text.replace(value, reference)
    return text
