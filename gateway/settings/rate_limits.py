"""``rate_limits:`` of the server: how many requests a client may send in a time."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gateway.settings.vocabulary import Keys, Text, said, such_as

Rate = Annotated[
    str,
    StringConstraints(pattern=r"^[1-9]\d{0,6}/([1-9]\d{0,3} )?(second|minute|hour|day)s?$"),
    said("a number of requests and a time, as 10/second or 100/5 minutes", "rates"),
    such_as("10/second", "100/5 minutes"),
]
"""A number of requests in a time."""

RedisUrl = Annotated[
    str,
    StringConstraints(pattern=r"^rediss?://.+$"),
    said("the URL of a Redis, as redis://host:6379/0", "URLs of Redis"),
    such_as("redis://127.0.0.1:6379/0"),
]

_None = Annotated[Literal[False], said("false", "falses")]
Proxies = _None | Annotated[int, Field(ge=1, le=16), said("a number of proxies", "numbers of proxies")]
"""How many proxies stand in front."""


class RateLimitKeys(Keys):
    """An item of ``rate_limits:``; a request counts for each of them, and each entry of a batch is a request."""

    example = """\
rate_limits:
  - { key: context.tenant, limit: 10/second }
  - { key: peer, limit: 1000/minute, window: fixed }
"""

    key: Annotated[Text, such_as("context.tenant", 'request.headers."x-api-key"', "peer")]
    """JMESPath that tells clients apart: over `request` (`id`, `headers`), `context`, and `peer`, the address of the client. Those for whom it
    is null count together."""
    limit: Rate
    """How many requests each of them may send in how long a time."""
    window: Literal["moving", "fixed"] = "moving"
    """`moving`: in no such time are there more. `fixed`: times follow one another, and around the change there may be twice as many; it
    takes no memory for each request."""
