"""Two blueprints → what is set otherwise in the documents of which a configuration has one, such as `server:`."""

import re
from collections.abc import Iterator, Mapping

from gateway.blueprint import Blueprint
from gateway.blueprint.redaction import MASK
from gateway.language.environment import as_written
from gateway.settings import DOCUMENT_KINDS, Keys
from gateway.settings.words import flow

_SECRETS = re.compile(r"(?<=://)\S*(?=@)|(?<=\?)\S+$")
"""What of a URL may be a secret: user and password, and its query."""


def settings_changes(old: Blueprint, new: Blueprint) -> Iterator[str]:
    """Yield a line for each key that has another value, as ``server.max_in_flight: 512 → 200``.

    Values of the environment are shown as they were written, and URLs without what may be a secret.
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
    """Return a value of settings as YAML has it, without secrets."""
    match value:
        case Keys():
            return {key: _plain(getattr(value, key), variables) for key in type(value).model_fields}
        case dict():
            return {key: _plain(item, variables) for key, item in value.items()}
        case list():
            return [_plain(item, variables) for item in value]
        case str():
            text = as_written(value, variables)
            return _SECRETS.sub(MASK, text) if "://" in text else text
    return value
