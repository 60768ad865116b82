"""``server:`` with its ``rate_limits:`` and ``cors:``, ``limits:`` and ``reload:``: what holds for connections, requests and changes.

None of it belongs to one operation.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gateway.settings.vocabulary import ByteCount, Count, Keys, Milliseconds, Text, WaitMilliseconds, said, such_as

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


class CorsKeys(Keys):
    """``cors:`` of the server: which pages of other sites may ask the gateway from a browser. None, unless they are written here."""

    example = "cors: { origins: [https://desk.example.com] }"

    origins: Annotated[list[Text], such_as(["https://desk.example.com"])] = []
    """Origins whose pages may ask, as scheme, host and port; `*` for all."""
    headers: Annotated[list[Text], such_as(["authorization"])] = []
    """Request headers that such pages may set, beside `content-type` and those that every page may."""
    credentials: bool = False
    """Whether such pages may send cookies and other credentials of the user."""
    max_age_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 600_000
    """For how long a browser may remember what it was allowed."""


class ServerKeys(Keys):
    """``server:``: what holds for connections, and for requests of all operations."""

    example = "server: { dedupe_queries: true, max_request_bytes: 500000 }"

    dedupe_queries: bool = False
    """Whether equal queries of several requests are one while they are under way: the same operation, variables, overlays and whatever
    headers and context values its steps read."""
    header_read_timeout_ms: Milliseconds = 10_000
    """How long a client may take to send the head of a request."""
    body_read_timeout_ms: Milliseconds = 10_000
    """How long it may take to send the body after that."""
    idle_timeout_ms: Milliseconds = 15_000
    """How long a connection is kept without a request, or with a client that does not read its answer."""
    max_request_bytes: ByteCount = 2_000_000
    """The longest body of a request."""
    max_header_bytes: Annotated[int, Field(ge=1024, le=1_000_000)] = 65_536
    """The longest head of a request: its first line and its headers."""
    max_headers: Annotated[int, Field(ge=10, le=10_000)] = 100
    """How many headers a request may have."""
    max_url_bytes: Annotated[int, Field(ge=256, le=1_000_000)] = 8192
    """The longest URL of a request."""
    cors: Annotated[CorsKeys, such_as({"origins": ["https://desk.example.com"]})] = CorsKeys()
    """Which pages of other sites may ask."""
    max_in_flight: Count = 512
    """How many requests may be under way at once in one process; what comes beyond is told at once to come again later."""
    request_timeout_ms: Milliseconds = 30_000
    """The longest that any request may take from its arrival; a longer `deadline_ms` of an operation is cut down to it."""
    drain_delay_ms: WaitMilliseconds = 5000
    """For how long a server that shall end still takes connections, until all who send it requests have seen that it is not ready. None
    in development."""
    shutdown_grace_ms: WaitMilliseconds = 30_000
    """For how long the requests under way may go on after that before they are cut off; a second in development."""
    rate_limits: Annotated[list[RateLimitKeys], such_as([{"key": "context.tenant", "limit": "10/second"}])] = []
    """How many requests clients may send in a time."""
    rate_limit_store: Annotated[RedisUrl | None, such_as("redis://127.0.0.1:6379/0")] = None
    """A Redis where all processes count together (`stepgraph[redis]`); left out: each process counts what comes to it. While it does not
    answer requests are let in."""
    trust_proxy_headers: Proxies = False
    """How many proxies of your own stand in front of the gateway: so many addresses at the end of `X-Forwarded-For` are believed."""


class ServerDocumentKeys(Keys):
    """A document with ``server:``. There is at most one."""

    example = "server: { dedupe_queries: true }"

    server: Annotated[ServerKeys, such_as({"dedupe_queries": True})]
    """What holds for requests of all operations."""


class LimitsKeys(Keys):
    """``limits:`` document: how large a query may be, and what it may cost. What exceeds a limit is refused before any step runs."""

    example = "limits: { max_depth: 10, max_cost: 500 }"

    max_tokens: Count = 2000
    """Tokens of a document, comments included. A token counts once for each 50 characters, and for each 10 that its fragments make of it."""
    max_depth: Annotated[int, Field(gt=0, le=100)] = 15
    """Fields below each other, through fragments; what tools ask of the schema has 15. Four braces or brackets of values count as one at least."""
    max_root_fields: Count = 20
    """Fields of the query itself, through fragments."""
    max_aliases: Count = 30
    """Aliases of a document; those of a fragment count wherever it is spread."""
    max_fields: Count = 500
    """Fields of a document; those of a fragment count wherever it is spread."""
    max_directives: Count = 50
    """Directives of a document, as `@skip`; those of a fragment count wherever it is spread."""
    max_introspection_depth: Count = 2
    """Lists of `fields`, `interfaces`, `possibleTypes` and `inputFields` below each other in a query about the schema; what tools ask has 1."""
    max_values: Annotated[int, Field(gt=0, le=10_000_000)] = 20_000
    """Items of lists and fields of objects in the variables of a request."""
    max_errors: Count = 50
    """Errors of an answer; the last says how many more there were."""
    max_cost: Annotated[int | None, Field(gt=0), such_as(1000)] = None
    """What the upstream calls that a query is planned to make may cost together, each with the `cost` of its step, 1 if it says nothing.
    Below a list, a link without `batch` costs a call for each item, and a batch one for each `max`. Left out: anything."""
    list_size: Count = 100
    """How many items a list is taken to have, where its step has no `list_size`."""
    mode: Literal["enforce", "measure"] = "enforce"
    """`measure`: what is too large is told in the log, and answered."""
    batching: Annotated[int, Field(ge=0, le=1000)] | bool = False
    """How many requests one HTTP request may have, as a JSON list, each answered by itself; `true`: 10; `false` or 0: none."""
    introspection: bool | None = None
    """Whether clients may ask for the schema; left out: in development alone."""
    suggestions: bool | None = None
    """Whether messages suggest names that are much alike; left out: in development alone."""

    @property
    def max_batch(self) -> int:
        """How many requests may come as one; 0: they may not."""
        return 10 if self.batching is True else int(self.batching)


class LimitsDocumentKeys(Keys):
    """A document with ``limits:``. There is at most one."""

    example = "limits: { max_depth: 10 }"

    limits: Annotated[LimitsKeys, such_as({"max_depth": 10})]
    """How large a query may be."""


class ReloadKeys(Keys):
    """``reload:`` document: how a change of the files is taken up while the gateway serves."""

    example = "reload: { reject_breaking: true, grace_ms: 60000 }"

    settle_ms: Annotated[int, Field(ge=50, le=60_000)] = 200
    """Milliseconds that the files must rest before a change of them is read."""
    poll_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 3000
    """Milliseconds after which the files are looked at even when the file system has told of no change."""
    keep_last_good: bool = True
    """Whether what is sound of a change moves on while the rest keeps its last good definition; without, a change with a problem waits."""
    grace_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 30_000
    """Milliseconds that requests on an old version have to end before its pools are closed."""
    reject_breaking: bool = False
    """Whether a change is refused that breaks clients: a field, type or argument that goes or gets another type."""


class ReloadDocumentKeys(Keys):
    """A document with ``reload:``. There is at most one."""

    example = "reload: { reject_breaking: true }"

    reload: Annotated[ReloadKeys, such_as({"reject_breaking": True})]
    """How a change is taken up."""
