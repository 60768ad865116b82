"""Two blueprints → the settings that differ between them, in kinds of documents of which there is only one, such as ``server:``."""

import re
from collections.abc import Iterator, Mapping

from gateway.blueprint import Blueprint
from gateway.blueprint.redaction import MASK
from gateway.language.environment import restore_references
from gateway.settings import DOCUMENT_KINDS, Keys
from gateway.settings.words import flow

_SECRETS = re.compile(r"(?<=://)\S*(?=@)|(?<=\?)\S+$")
"""The parts of a URL that may be secret: user and password, and the query."""


def settings_changes(old: Blueprint, new: Blueprint) -> Iterator[str]:
    """Yield a line for each key with a different value, such as ``server.max_in_flight: 512 → 200``.

    Secrets are not shown: values of the environment appear as ``${NAME}``, URLs without user, password and query.
    """
    for kind in DOCUMENT_KINDS:
        if kind.is_single:
            for name, before, after in _differing(kind.key, getattr(old, kind.field), getattr(new, kind.field)):
                was, now = _shown(before, old.variables), _shown(after, new.variables)
                yield f"{name}: {was} → {now}" if was != now else f"{name}: another value"


def _differing(name: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    """Yield the dotted key of each value that differs, with the value before and after."""
    if isinstance(before, Keys) and isinstance(after, Keys):
        for key in type(after).model_fields:
            yield from _differing(f"{name}.{key}", getattr(before, key), getattr(after, key))
    elif before != after:
        yield name, before, after


def _shown(value: object, variables: Mapping[str, str]) -> str:
    return "none" if value is None else flow(_plain(value, variables))


def _plain(value: object, variables: Mapping[str, str]) -> object:
    """Return a value as plain data, without secrets."""
    match value:
        case Keys():
            return {key: _plain(getattr(value, key), variables) for key in type(value).model_fields}
        case dict():
            return {key: _plain(item, variables) for key, item in value.items()}
        case list():
            return [_plain(item, variables) for item in value]
        case str():
            text = restore_references(value, variables)
            return _SECRETS.sub(MASK, text) if "://" in text else text
    return value
