"""Names of other systems → GraphQL names: valid, readable and unique."""

import re
import unicodedata

from gateway.load.check.references import RESERVED
from gateway.load.types.sdl import ROOT_TYPES

_NAME = re.compile(r"(?!__)[_A-Za-z][_0-9A-Za-z]*")
_WORD = re.compile(r"[A-Za-z0-9]+")
_NOT_ENUM_VALUES = {"true", "false", "null"}
_STOP_WORDS = {"the", "a", "an", "of", "official", "rest", "http", "open", "openapi", "api", "apis", "spec", "specification"}
ID = re.compile(r"(^|[_-])(id|ID|Id)$|[a-z](Id|ID)$")
"""Matches names of identifiers by their ending: ``id``, ``user_id``, ``userId``."""
BUILT_IN_TYPES = ("Int", "Float", "String", "Boolean", "ID", "JSON", *ROOT_TYPES)
SCALARS = ("BigInt", "Date", "DateTime", "Decimal", "Time", "UUID")
"""The scalars that imported types can use in addition to the built-in ones."""


class UniqueNames:
    """Hands out names so that each is used once; a repeated name gets a number."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def take(self, wanted: str) -> str:
        """Return the name, or the first free one with a number, and reserve it."""
        name, number = wanted, 2
        while name in self._taken:
            # An underscore keeps a number apart from a digit: "v1_2" rather than "v12".
            name, number = f"{wanted}_{number}" if wanted[-1].isdecimal() else f"{wanted}{number}", number + 1
        self._taken.add(name)
        return name


def type_names() -> UniqueNames:
    """Return unique names for types, with those of GraphQL and the gateway reserved."""
    return UniqueNames(*BUILT_IN_TYPES, *SCALARS)


def argument_names() -> UniqueNames:
    """Return unique names for arguments, with those that have a meaning in templates reserved."""
    return UniqueNames(*RESERVED)


def is_name(text: str) -> bool:
    """Tell whether a text is a valid GraphQL name and not reserved (``__``)."""
    return _NAME.fullmatch(text) is not None


def is_enum_value(text: object) -> bool:
    """Tell whether a value is a valid GraphQL enum value."""
    return isinstance(text, str) and is_name(text) and text not in _NOT_ENUM_VALUES


def words(text: str) -> list[str]:
    """Split a text into words of ASCII letters and digits. Accents are removed from letters."""
    return _WORD.findall(unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode())


def camel(text: str) -> str:
    """Return ``SimpleUser`` for ``simple-user``; a valid name that starts with a capital is not changed."""
    if is_name(text) and text[0].isupper() and "_" not in text:
        return text
    return _valid("".join(word[0].upper() + word[1:] for word in words(text)), "Type")


def lower_camel(text: str) -> str:
    """Return ``reposGetContent`` for ``repos/get-content``; a valid name is not changed."""
    if is_name(text):
        return text
    first, *rest = words(text) or ["field"]
    return _valid(first.lower() + "".join(word[0].upper() + word[1:] for word in rest), "field")


def snake(text: str) -> str:
    """Return ``user_id`` for ``user-id``; a valid name is not changed."""
    return text if is_name(text) else _valid("_".join(words(text)).lower(), "value")


def source_name(text: str) -> str:
    """Return the name of a source, and of its folder, from a title, host or file name: ``petstore`` for ``Petstore's REST API``."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    parts = re.findall(r"[0-9a-z]+", re.sub(r"'s\b", "", plain))
    significant = [part for part in parts if part not in _STOP_WORDS] or parts
    return _valid("_".join(significant)[:40].rstrip("_"), "imported")


def _valid(text: str, default: str) -> str:
    if not text:
        return default
    return text if is_name(text) else f"_{text}".replace("__", "_")


# The first pattern that matches decides; None leaves the word as it is.
_SINGULARS = (
    (re.compile(r"(?i)(series|species|news)$"), None),
    (re.compile(r"(?i)(ss|us|is)$"), None),
    (re.compile(r"(?i)([^aeiou])ies$"), r"\1y"),
    (re.compile(r"(?i)(cache)s$"), r"\1"),
    (re.compile(r"(?i)(x|ch|sh|ss|status|bus|virus|bonus)es$"), r"\1"),
    (re.compile(r"(?i)people$"), "person"),
    (re.compile(r"(?i)children$"), "child"),
    (re.compile(r"s$"), ""),
)


def singular(text: str) -> str:
    """Return the singular of an English plural; a word that does not look like a plural is not changed."""
    for pattern, replacement in _SINGULARS:
        if pattern.search(text):
            return text if replacement is None else pattern.sub(replacement, text)
    return text


def sentence(text: object, limit: int = 160) -> str:
    """Return the first paragraph of a description on one line, cut at ``limit`` characters; empty if the value is not a string."""
    if not isinstance(text, str):
        return ""
    first = " ".join(re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0].split())
    return first if len(first) <= limit else first[: limit - 1].rsplit(" ", 1)[0] + "…"
