"""Values → what may stand in a request line and in headers: encoded, or refused before any call.

``quote`` alone is not enough: a segment ``..`` has nothing to encode and still leads elsewhere.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

from gateway.errors import Code, StepFault
from gateway.language.template import Reference, Template, UnusableValue, as_text, parse

MAX_SEGMENT = 1024
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parts_of(template: str | Reference | Template) -> tuple[str | Reference, ...]:
    """Return the literal texts and references of a template in order."""
    return template.parts if isinstance(template, Template) else (template,)


def as_written(path: str) -> str:
    """Return a path of the configuration as it stands in a request line: only what may not stand there is encoded (RFC 3986, 2)."""
    return quote(path, safe="!#$%&'()*+,/:;=?@[]~")


def target_renderer(endpoint: str) -> Callable[[Sequence[object], Mapping[str, object]], str]:
    """Return the function from the values of an endpoint's references and its query to an encoded request target.

    That function raises StepFault for a value that cannot stand where its reference does.
    """
    pattern, is_in_query = "", False
    references: list[tuple[Reference, bool]] = []
    for part in parts_of(parse(endpoint)):
        if isinstance(part, Reference):
            pattern += "%s"
            references.append((part, is_in_query))
        else:
            pattern += as_written(part).replace("%", "%%")
            is_in_query = is_in_query or "?" in part

    fixed = None if references else pattern % ()

    def render(values: Sequence[object], query: Mapping[str, object]) -> str:
        target = fixed or pattern % tuple(
            [_encode(value, *reference) for value, reference in zip(values, references, strict=True)]
        )
        encoded = "&".join(_query_pairs(query)) if query else ""
        return f"{target}{'&' if is_in_query else '?'}{encoded}" if encoded else target

    return render


def _encode(value: object, reference: Reference, is_in_query: bool) -> str:
    if type(value) is int:  # most values are numbers or names, in which there is nothing to encode and nothing to refuse
        return str(value)
    if type(value) is str and value.isascii() and value.isalnum() and len(value) <= MAX_SEGMENT:
        return value
    text = _scalar_text(value, reference)
    if is_in_query:
        return _quoted(text)
    if text in {"", ".", ".."}:
        raise _refused(reference, "is empty or a dot, which cannot be a path segment")
    if CONTROL.search(text):
        raise _refused(reference, "has a control character, which cannot stand in a path")
    if len(text.encode()) > MAX_SEGMENT:
        raise _refused(reference, f"is longer than the {MAX_SEGMENT} bytes that a path segment may have")
    return _quoted(text)


def _query_pairs(query: Mapping[str, object]) -> Iterator[str]:
    for name, value in query.items():
        head = _head(name)
        if type(value) is list and set(map(type, value)) == {int}:  # as nearly all keys of a batch are
            yield head + f"&{head}".join(map(str, value))
            continue
        for item in value if isinstance(value, list) else (value,):
            if item is not None:
                yield head + _quoted(_scalar_text(item, Reference(("query", name))))


@lru_cache(maxsize=1000)
def _head(name: str) -> str:
    return f"{_quoted(name)}="


def _quoted(text: str) -> str:
    """Percent-encode a text, unless that would change nothing."""
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def encode_headers(rendered: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return header names and values as text.

    :raises StepFault: a value is no text, or would end its header and begin another.
    """
    headers = []
    for name, value in rendered.items():
        reference = Reference(("headers", name))
        text = _scalar_text(value, reference)
        if CONTROL.search(text.replace("\t", " ")):
            raise _refused(reference, "has a control character, which cannot stand in a header")
        headers.append((name, text))
    return headers


def _scalar_text(value: object, reference: Reference) -> str:
    try:
        text = as_text(value, reference)
        text.encode()
    except UnusableValue as error:
        raise _refused(reference, error.reason) from None
    except UnicodeEncodeError:
        raise _refused(reference, "has half of a surrogate pair, which is not text") from None
    return text


def _refused(reference: Reference, reason: str) -> StepFault:
    message = f"The value of '{reference}' {reason}."
    return StepFault(Code.BAD_USER_INPUT, message=message, detail=message)
