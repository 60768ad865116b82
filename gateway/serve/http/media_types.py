"""Choose the media type of a response by the ``Accept`` header (GraphQL-over-HTTP 6.1)."""

from collections.abc import Mapping
from functools import lru_cache

from gateway.errors import Code, RequestError

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
MAX_CACHED_HEADERS = 256
MAX_MEDIA_RANGES = 100
"""How many media ranges of an ``Accept`` header are read: 64 kB of commas would take 100 ms."""


@lru_cache(maxsize=MAX_CACHED_HEADERS)
def negotiate(accept: str | None) -> str:
    """Choose the response's media type (GraphQL-over-HTTP 6.1); without the header it is ``application/json``.

    :raises RequestError: the client accepts neither of the two (406).
    """
    if not accept:
        return JSON
    qualities: dict[str, float] = {}
    for item in accept.split(",", MAX_MEDIA_RANGES)[:MAX_MEDIA_RANGES]:
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        qualities.setdefault(media_range, _quality(parameters))
    offers = [(_quality_of(media_type, qualities), media_type) for media_type in _in_order_of_mention(qualities)]
    quality, best = max(offers, key=lambda offer: offer[0])
    if quality <= 0:
        message = f"The response is {RESPONSE_JSON} or {JSON}; 'Accept' allows neither."
        raise RequestError(Code.INVALID_ACCEPT_HEADER, 406, {"message": message})
    return best


@lru_cache(maxsize=MAX_CACHED_HEADERS)
def negotiate_or_json(accept: str | None) -> str:
    """Choose the media type of a response that is sent in any case: ``application/json`` if the client accepts neither of the two."""
    try:
        return negotiate(accept)
    except RequestError:
        return JSON


def _in_order_of_mention(qualities: Mapping[str, float]) -> list[str]:
    """Return the two media types in the order in which the client names them: of equal qualities the first is chosen."""
    return sorted(
        (JSON, RESPONSE_JSON), key=lambda media_type: list(qualities).index(media_type) if media_type in qualities else 99
    )


def _quality_of(media_type: str, qualities: Mapping[str, float]) -> float:
    """Return the quality of a media type: that of the most specific range that matches it (RFC 9110, 12.5.1)."""
    return next((qualities[name] for name in (media_type, "application/*", "*/*") if name in qualities), 0.0)


def _quality(parameters: list[str]) -> float:
    """Return the quality of a media range by its parameters; an invalid one means not acceptable."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
        # A response is always UTF-8, so a range that asks for another charset is not acceptable.
        if name.strip() == "charset" and value.strip().strip('"') not in {"utf-8", "utf8"}:
            return 0.0
    return 1.0
