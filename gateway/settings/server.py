"""The keys of ``server:`` (with ``rate_limits:`` and ``cors:``), ``limits:`` and ``reload:``: settings of the gateway as a whole."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gateway.settings.vocabulary import ByteCount, Count, Keys, Milliseconds, Text, WaitMilliseconds, phrased, such_as

Rate = Annotated[
    str,
    StringConstraints(pattern=r"^[1-9]\d{0,6}/([1-9]\d{0,3} )?(second|minute|hour|day)s?$"),
    phrased("a number of requests and a time, as 10/second or 100/5 minutes", "rates"),
    such_as("10/second", "100/5 minutes"),
]
"""A number of requests per period."""

RedisUrl = Annotated[
    str,
    StringConstraints(pattern=r"^rediss?://.+$"),
    phrased("the URL of a Redis, as redis://host:6379/0", "URLs of Redis"),
    such_as("redis://127.0.0.1:6379/0"),
]

_None = Annotated[Literal[False], phrased("false", "falses")]
Proxies = _None | Annotated[int, Field(ge=1, le=16), phrased("a number of proxies", "numbers of proxies")]
"""The number of trusted proxies in front of the gateway; ``false`` for none."""


class RateLimitKeys(Keys):
    """An entry of ``rate_limits:``. A request counts against every entry, and each request of a batch counts."""

    example = """\
rate_limits:
  - { key: context.tenant, limit: 10/second }
  - { key: peer, limit: 1000/minute, window: fixed }
"""

    key: Annotated[Text, such_as("context.tenant", 'request.headers."x-api-key"', "peer")]
    """JMESPath whose value identifies the client, over `request` (`id`, `headers`), `context`, and `peer`, the client's address. All clients
    for which it is null count together."""
    limit: Rate
    """How many requests each client may send per period."""
    window: Literal["moving", "fixed"] = "moving"
    """`moving`: the limit holds for every period of that length. `fixed`: requests are counted per clock period, so that around the
    boundary of two periods twice as many may pass; this needs no memory per request."""


class CorsKeys(Keys):
    """``cors:`` of the server: which web pages of other origins may call the gateway from a browser. Left out: none."""

    example = "cors: { origins: [https://desk.example.com] }"

    origins: Annotated[list[Text], such_as(["https://desk.example.com"])] = []
    """The allowed origins, each as browsers write it: scheme, host, and a port other than the default one, in lower case. `*` alone allows
    all, but not with `credentials`."""
    headers: Annotated[list[Text], such_as(["authorization"])] = []
    """Request headers that these pages may set, in addition to `content-type` and those that CORS always allows."""
    credentials: bool = False
    """Whether these pages may send cookies and other credentials of the user."""
    max_age_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 600_000
    """How long a browser may cache the response to a preflight request."""


class ServerKeys(Keys):
    """``server:``: settings for connections, and for requests to all operations."""

    example = "server: { dedupe_queries: true, max_request_bytes: 500000 }"

    dedupe_queries: bool = False
    """Whether equal queries of different requests share one execution while it is in flight. Queries are equal when the operation, the
    variables, the overlays, and all headers and context values that its steps read are equal."""
    header_read_timeout_ms: Milliseconds = 10_000
    """How long a client may take to send the request line and headers."""
    body_read_timeout_ms: Milliseconds = 10_000
    """How long a client may take after that to send the body."""
    idle_timeout_ms: Milliseconds = 15_000
    """How long a connection stays open without a request, or while the client does not read its response."""
    max_request_bytes: ByteCount = 2_000_000
    """The largest body of a request, in bytes."""
    max_header_bytes: Annotated[int, Field(ge=1024, le=1_000_000)] = 65_536
    """The largest head of a request, request line and headers, in bytes."""
    max_headers: Annotated[int, Field(ge=10, le=10_000)] = 100
    """The most headers of a request."""
    max_url_bytes: Annotated[int, Field(ge=256, le=1_000_000)] = 8192
    """The longest URL of a request, in bytes."""
    cors: Annotated[CorsKeys, such_as({"origins": ["https://desk.example.com"]})] = CorsKeys()
    """Which web pages of other origins may call the gateway."""
    max_cache_bytes: Annotated[int, Field(ge=1_000_000, le=100_000_000_000)] = 100_000_000
    """The most memory of one process for what it keeps to answer later requests sooner, estimated: documents with their plans, and replies
    of steps with `cache:` or a stale fallback. What was not used for the longest time goes first."""
    max_in_flight: Count = 512
    """The most requests in flight at once in one process. Further requests are refused at once, with a hint to retry later."""
    request_timeout_ms: Milliseconds = 30_000
    """The longest time that any request may take, from its arrival. It caps the `deadline_ms` of operations."""
    drain_delay_ms: WaitMilliseconds = 5000
    """How long a server that is shutting down still accepts connections, so that load balancers can see that it is not ready. 0 in
    development mode."""
    shutdown_grace_ms: WaitMilliseconds = 30_000
    """How long requests in flight may continue after that before they are cancelled; one second in development mode."""
    rate_limits: Annotated[list[RateLimitKeys], such_as([{"key": "context.tenant", "limit": "10/second"}])] = []
    """How many requests each client may send per period."""
    rate_limit_store: Annotated[RedisUrl | None, such_as("redis://127.0.0.1:6379/0")] = None
    """A Redis in which all processes count together (needs `stepgraph[redis]`). Left out: each process counts its own requests. While
    Redis does not respond, requests are admitted."""
    trust_proxy_headers: Proxies = False
    """How many trusted proxies stand in front of the gateway: that many addresses at the end of `X-Forwarded-For` are trusted."""


class ServerDocumentKeys(Keys):
    """A document with ``server:``. There is at most one."""

    example = "server: { dedupe_queries: true }"

    server: Annotated[ServerKeys, such_as({"dedupe_queries": True})]
    """Settings for connections, and for requests to all operations."""


class LimitsKeys(Keys):
    """``limits:`` document: how large a query may be, and what it may cost. A request over a limit is refused before any step runs."""

    example = "limits: { max_depth: 10, max_cost: 500 }"

    max_tokens: Count = 2000
    """The most tokens of a document, comments included. A token counts once per 50 characters, and once per 10 after its fragments are
    expanded."""
    max_depth: Annotated[int, Field(gt=0, le=100)] = 15
    """The deepest nesting of fields, fragments expanded; the introspection query of common tools has 15. Four nested braces or brackets
    of values count as one level at least."""
    max_root_fields: Count = 20
    """The most root fields of a query, fragments expanded."""
    max_aliases: Count = 30
    """The most aliases of a document. Those of a fragment count wherever it is spread, and a long one once more per 50 characters."""
    max_fields: Count = 500
    """The most fields of a document. Those of a fragment count wherever it is spread."""
    max_directives: Count = 50
    """The most directives of a document, such as `@skip`. Those of a fragment count wherever it is spread."""
    planning: Count = 5000
    """The most steps of planning a document: each field of it counts for each concrete type of an interface or union that it is selected on.
    A hundred steps take about a millisecond."""
    max_introspection_depth: Count = 2
    """The deepest nesting of the lists `fields`, `interfaces`, `possibleTypes` and `inputFields` in an introspection query; that of common
    tools has 1."""
    max_values: Annotated[int, Field(gt=0, le=10_000_000)] = 20_000
    """The most list items and object fields in the variables of a request, and in an argument that is made of variables, such as `[$a, $b]`."""
    max_errors: Count = 50
    """The most errors of a response. The last one says how many more there were."""
    max_calls: Count = 1000
    """The most upstream calls that the links of one request may make; each batch is one call. What is beyond that fails."""
    max_response_bytes: ByteCount = 20_000_000
    """The largest answer to a query, or to all queries of a batch, in bytes. A query whose answer would be larger is refused."""
    max_cost: Annotated[int | None, Field(gt=0), such_as(1000)] = None
    """The highest total cost of the upstream calls that a query may plan. Each call has the `cost` of its step, 1 by default. Below a
    list, a link without `batch` is called once for each item, and with `batch` once for each `max` items. Left out: no limit."""
    list_size: Count = 100
    """The assumed number of items of a list, where its step has no `list_size`."""
    mode: Literal["enforce", "measure"] = "enforce"
    """`measure`: requests over a limit are logged, but still answered."""
    batching: Annotated[int, Field(ge=0, le=1000)] | bool = False
    """How many GraphQL requests one HTTP request may contain, as a JSON list, each with its own response; `true`: 10; `false` or 0: batches
    are refused."""
    introspection: bool | None = None
    """Whether clients may query the schema; left out: only in development mode."""
    trace: bool | None = None
    """Whether clients may ask for `extensions.trace`, which names every step of the plan, also those with `expose: false`; left out: only in
    development mode."""
    suggestions: bool | None = None
    """Whether error messages suggest similar names; left out: only in development mode."""

    @property
    def max_batch(self) -> int:
        """The most requests in one batch; 0 when batches are refused."""
        return 10 if self.batching is True else int(self.batching)


class LimitsDocumentKeys(Keys):
    """A document with ``limits:``. There is at most one."""

    example = "limits: { max_depth: 10 }"

    limits: Annotated[LimitsKeys, such_as({"max_depth": 10})]
    """How large a query may be, and what it may cost."""


class ReloadKeys(Keys):
    """``reload:`` document: how changes of the files are applied while the gateway serves requests."""

    example = "reload: { reject_breaking: true, grace_ms: 60000 }"

    settle_ms: Annotated[int, Field(ge=50, le=60_000)] = 200
    """How long the files must stay unchanged before a change is read."""
    poll_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 3000
    """How often the files are checked when the file system reports no change."""
    keep_last_good: bool = True
    """Whether the valid parts of a change are applied while the rest keeps its last good definition. `false`: a change with any problem is
    not applied."""
    grace_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 30_000
    """How long requests on an old version may continue before its connection pools are closed."""
    reject_breaking: bool = False
    """Whether changes that break clients are rejected: a field, type or argument that is removed or changes its type."""


class ReloadDocumentKeys(Keys):
    """A document with ``reload:``. There is at most one."""

    example = "reload: { reject_breaking: true }"

    reload: Annotated[ReloadKeys, such_as({"reject_breaking": True})]
    """How changes of the files are applied."""
