"""What is told of a call → the same without what nobody may read: secrets of the configuration, and what a client gave.

What a service says of a failure often repeats what it was asked, so what was sent is taken out of it before it goes to the log.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from gateway.blueprint.step import Step

MASK = "•••"
_SHORT = 8
"""Values shorter than this say little of anybody, and to take them out would make a line unreadable: "42", "gold"."""
_SHORT_SECRET = 4
MAX_STEPS = 1000
_PLAIN = re.compile(r"[ !#-&(-[\]-~]*")
"""What looks the same within quotes."""


def masked_detail(step: Step, inputs: Mapping[str, object] | None, detail: str, kind: str = "") -> str:
    """Return what may be logged of a call's failure: its kind alone where the step is sensitive, else all but what was sent."""
    if step.is_sensitive:
        return f"{kind} {MASK}".strip()
    sent = {*_constants(step), *_texts(inputs or {})}
    return without(detail, sent) if sent else detail


def without(text: str, values: set[str]) -> str:
    """Return a text without certain values, as they are and as they look within quotes."""
    for value in sorted(values, key=len, reverse=True):  # a value may be a part of another
        for form in (value,) if _PLAIN.fullmatch(value) else (value, repr(value)[1:-1], _escaped(value)):
            if form in text:
                text = text.replace(form, MASK)
    return text


def _escaped(value: str) -> str:
    """Return a text as the ``repr`` of its bytes has it, without the quotes."""
    return repr(value.encode("utf-8", "replace"))[2:-1]


@lru_cache(maxsize=MAX_STEPS)
def _constants(step: Step) -> frozenset[str]:
    """Return the secrets that a step and its source have in the configuration: header values, and the password of a url."""
    found: set[str] = set()
    for keys in (step.keys, step.source.keys if step.source else None):
        for value in getattr(keys, "headers", {}).values():
            found.update(_words(str(value)))
        found.update(_passwords(str(getattr(keys, "url", ""))))
    return frozenset(found)


def _words(text: str) -> Iterator[str]:
    """Yield a header's value and its words: ``Bearer`` is none that matters, what follows it is."""
    yield from (word for word in (text, *text.split()) if len(word) >= _SHORT_SECRET and "{" not in word and word != "Bearer")


def _passwords(url: str) -> Iterator[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    if password and len(password) >= _SHORT_SECRET:
        yield from (password, unquote(password))


def _texts(inputs: Mapping[str, object]) -> Iterator[str]:
    """Yield the texts of a call's inputs: those of headers, and others that are not short."""
    for name, value in inputs.items():
        if name == "headers" and isinstance(value, Mapping):
            for text in value.values():
                yield from _words(str(text))
        elif name != "selection":  # which the client wrote, but of words of the schema
            yield from (text for text in _leaves(value) if len(text) >= _SHORT)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
