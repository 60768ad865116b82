"""The detail of a failed call → the text that may be logged, without secrets of the configuration and without values of the client.

The error message of a service often repeats the request that it got, so everything that was sent is masked before the message is logged.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from gateway.blueprint.step import Step

MASK = "•••"
_SHORT = 8
"""Values shorter than this identify nobody, and masking them would make a line unreadable: "42", "gold"."""
_SHORT_SECRET = 4
"""The shortest word of a header, or password, that is masked."""
MAX_STEPS = 1000
"""The size of the cache of configured secrets by step."""
MAX_SENT = 20_000
"""The number of sent values that are looked for, which takes 20 ms; a call can send hundreds of thousands that another service gave."""
_PLAIN = re.compile(r"[ !#-&(-[\]-~]*")
"""Texts that ``repr`` and JSON write without escapes, so that they look the same within quotes."""


class _TooManyValuesError(Exception):
    """A call has sent more values than are looked for."""


def redact_detail(step: Step, inputs: Mapping[str, object] | None, detail: str, kind: str = "") -> str:
    """Return what may be logged of a failed call: of a sensitive step only ``kind``, else the detail with all sent values masked.

    Where too much was sent to look for all of it, that is ``kind`` as well.
    """
    if step.is_sensitive:
        return f"{kind} {MASK}".strip()
    try:
        sent = {*_constants(step), *_texts(inputs or {})}
    except _TooManyValuesError:
        return f"{kind} {MASK}".strip()
    return redact_values(detail, sent) if sent else detail


def redact_values(text: str, values: set[str]) -> str:
    """Return a text with some values masked, both as they are and as they look within quotes."""
    for value in sorted(values, key=len, reverse=True):  # a value may be part of a longer one, which then has to be masked first
        for form in (value,) if _PLAIN.fullmatch(value) else (value, repr(value)[1:-1], _escaped(value)):
            if form in text:
                text = text.replace(form, MASK)
    return text


def _escaped(value: str) -> str:
    """Return a text as the ``repr`` of its UTF-8 bytes shows it, without the quotes."""
    return repr(value.encode("utf-8", "replace"))[2:-1]


@lru_cache(maxsize=MAX_STEPS)
def _constants(step: Step) -> frozenset[str]:
    """Return the secrets of a step and its source that the configuration holds: header values, and the password of a URL."""
    secrets: set[str] = set()
    for keys in (step.keys, step.source.keys if step.source else None):
        for value in getattr(keys, "headers", {}).values():
            secrets.update(_words(str(value)))
        secrets.update(_passwords(str(getattr(keys, "url", ""))))
    return frozenset(secrets)


def _words(text: str) -> Iterator[str]:
    """Yield a header's value and each of its words: a service may repeat the token without ``Bearer``, which is no secret itself."""
    # A word with a brace belongs to a template; the value that was sent in its place is among the inputs of the call.
    yield from (word for word in (text, *text.split()) if len(word) >= _SHORT_SECRET and "{" not in word and word != "Bearer")


def _passwords(url: str) -> Iterator[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    if password and len(password) >= _SHORT_SECRET:
        # A URL has it percent-encoded, but a database driver may repeat it decoded.
        yield from (password, unquote(password))


def _texts(inputs: Mapping[str, object]) -> Iterator[str]:
    """Yield the texts in a call's inputs: all of the headers, and those of other inputs that are not short."""
    for name, value in inputs.items():
        if name == "headers" and isinstance(value, Mapping):
            for text in value.values():
                yield from _words(str(text))
        elif name != "selection":  # the client's selection, which has no values but only names of the schema
            yield from (text for text in _leaves(value) if len(text) >= _SHORT)


def _leaves(value: object) -> Iterator[str]:
    """Yield the texts in a value, in any order.

    :raises _TooManyValuesError: it has more than ``MAX_SENT`` values.
    """
    level, seen = [value], 0
    while level:
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                yield item
            elif isinstance(item, Mapping | list | tuple):
                seen += len(item)
                if seen > MAX_SENT:
                    raise _TooManyValuesError
                below += item.values() if isinstance(item, Mapping) else item
        level = below
