"""Encode values for the request line and for headers, or refuse them before any call.

Percent-encoding alone is not enough: a path segment ``..`` has nothing to encode and still changes the path.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

from gateway.errors import Code, StepFault
from gateway.language.template import Reference, Template, UnusableValue, as_text, parse

MAX_SEGMENT = 1024
"""Bytes of one path segment, before it is encoded."""
MAX_TARGET = 65_536
"""Bytes of a request target, path and query, as it is sent."""
MAX_HEADERS = 16_384
"""Bytes of the header values of one call that vary. Common servers accept no more in a head."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def template_parts(template: str | Reference | Template) -> tuple[str | Reference, ...]:
    """Return the literals and references of a template in order."""
    return template.parts if isinstance(template, Template) else (template,)


def encode_path(path: str) -> str:
    """Encode a path of the configuration for a request line: only what is not allowed there is encoded (RFC 3986, 2)."""
    return quote(path, safe="!#$%&'()*+,/:;=?@[]~")


def target_renderer(endpoint: str) -> Callable[[Sequence[object], Mapping[str, object]], str]:
    """Return the function that renders an encoded request target from the values of the endpoint's references and the query.

    That function raises StepFault for a value that is not allowed in its place.
    """
    pattern, is_in_query = "", False
    references: list[tuple[Reference, bool]] = []
    for part in template_parts(parse(endpoint)):
        if isinstance(part, Reference):
            pattern += "%s"
            references.append((part, is_in_query))
        else:
            pattern += encode_path(part).replace("%", "%%")
            is_in_query = is_in_query or "?" in part

    constant_target = None if references else pattern % ()

    def render(values: Sequence[object], query: Mapping[str, object]) -> str:
        target = constant_target or pattern % tuple(
            [_encode(value, *reference) for value, reference in zip(values, references, strict=True)]
        )
        encoded = "&".join(_query_pairs(query)) if query else ""
        whole = f"{target}{'&' if is_in_query else '?'}{encoded}" if encoded else target
        if len(whole) > MAX_TARGET:
            raise _fault(f"The path and query of the call are longer than {MAX_TARGET} bytes.")
        return whole

    return render


def _encode(value: object, reference: Reference, is_in_query: bool) -> str:
    """Encode a value as one path segment or one query component.

    :raises StepFault: it is not a scalar, or would change the structure of the path.
    """
    if type(value) is int:  # most values are numbers or plain words, which need no encoding and no check
        return str(value)
    if type(value) is str and value.isascii() and value.isalnum() and len(value) <= MAX_SEGMENT:
        return value
    text = _scalar_text(value, reference)
    if is_in_query:
        return _quote(text)
    if text in {"", ".", ".."}:
        raise _refusal(reference, "is empty or a dot, which cannot be a path segment")
    if CONTROL.search(text):
        raise _refusal(reference, "has a control character, which cannot stand in a path")
    if len(text.encode()) > MAX_SEGMENT:
        raise _refusal(reference, f"is longer than the {MAX_SEGMENT} bytes that a path segment may have")
    return _quote(text)


def _query_pairs(query: Mapping[str, object]) -> Iterator[str]:
    """Yield encoded ``name=value`` texts; a list repeats its name, a null is left out."""
    for name, value in query.items():
        prefix = _encoded_name(name)
        if type(value) is list and set(map(type, value)) == {int}:  # as are nearly all batches of keys
            yield prefix + f"&{prefix}".join(map(str, value))
            continue
        for item in value if isinstance(value, list) else (value,):
            if item is not None:
                yield prefix + _quote(_scalar_text(item, Reference(("query", name))))


@lru_cache(maxsize=1000)
def _encoded_name(name: str) -> str:
    return f"{_quote(name)}="


def _quote(text: str) -> str:
    """Percent-encode a text; a plain word skips the call."""
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def encode_headers(rendered: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return header names and values as text.

    :raises StepFault: a value is not a scalar, or has a character that cannot be sent (a line break would begin another header), or the values
        are too long together.
    """
    headers, size = [], 0
    for name, value in rendered.items():
        reference = Reference(("headers", name))
        text = _scalar_text(value, reference)
        unusable = unusable_header_value(text)
        if unusable:
            raise _refusal(reference, f"has {unusable}, which cannot stand in a header")
        size += len(text)
        headers.append(
            (name, text.strip(" \t"))
        )  # white space around a value is no part of it (RFC 9110, 5.5), and httpx refuses it
    if size > MAX_HEADERS:
        raise _fault(f"The headers of the call are longer than {MAX_HEADERS} bytes.")
    return headers


def unusable_header_value(text: str) -> str | None:
    """Return what a text has that no header value may have (RFC 9110, 5.5), or None."""
    if text.isascii() and text.isprintable():
        return None
    if CONTROL.search(text.replace("\t", " ")):
        return "a control character"
    return "a character beyond Latin-1" if max(text) > "\xff" else None


def _scalar_text(value: object, reference: Reference) -> str:
    try:
        text = as_text(value, reference)
        text.encode()
    except UnusableValue as error:
        raise _refusal(reference, error.reason) from None
    except UnicodeEncodeError:
        raise _refusal(reference, "has half of a surrogate pair, which is not text") from None
    return text


def _refusal(reference: Reference, reason: str) -> StepFault:
    return _fault(f"The value of '{reference}' {reason}.")


def _fault(message: str) -> StepFault:
    return StepFault(Code.BAD_USER_INPUT, message=message, detail=message)
