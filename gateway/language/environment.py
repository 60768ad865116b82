"""``${NAME}`` in values ↔ what the environment has for it. Where a value is shown it is shown as it was written: it may be a secret."""

import re
from collections.abc import Iterable, Mapping

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SHORT = 8
"""Values shorter than this are no secrets, and stand in too many words."""


def variables_in(texts: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the variables that texts refer to, each with the reference, the longest first."""
    names = {match[1] for text in texts if "${" in text for match in VARIABLE.finditer(text)}
    values = {environment[name]: f"${{{name}}}" for name in sorted(names) if len(environment.get(name, "")) >= _SHORT}
    return dict(sorted(values.items(), key=lambda item: -len(item[0])))


def as_written(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with references instead of the values of variables."""
    for value, reference in variables.items():
        text = text.replace(value, reference)
    return text
