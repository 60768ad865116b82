"""``type: api``: a JSON resource over HTTP.

Values are always encoded: in a path as one segment, in a query as one component. Values that could change the structure of a path or a
header are refused before any call.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal

from gateway.blueprint import Source, Step
from gateway.contract import Call, CallContext, Inputs, KeyProblem, Reply, StepType
from gateway.contract.mock import MockUpstream
from gateway.language.template import Reference, TemplateError, parse
from gateway.settings import Status, StepKeys, Text, empty, such_as
from resolvers.certificates import advise_tls, check_tls
from resolvers.json_body import decode
from resolvers.json_http import (
    TRANSPORTS,
    HttpSourceKeys,
    OpenTransport,
    advise_url,
    check_headers,
    constant_headers,
    deadline_header,
    egress_mistake,
    encode,
    freshness,
    open_pool,
    status_fault,
    url_mistake,
    varying_headers,
)
from resolvers.transport.encoding import encode_headers, target_renderer, template_parts
from resolvers.transport.stand_in import StandInTransport
from resolvers.transport.transport import Headers, Transport, UpstreamRequest

_SAFE_METHODS = {"GET", "HEAD"}
_FORBIDDEN = re.compile(r"[#\\\s\x00-\x1f\x7f]")


class ApiKeys(StepKeys):
    """The keys of an api step: a JSON resource over HTTP."""

    example = """\
- name: transactions
  type: api
  endpoint: /accounts/{customer_id}/transactions
  query: { since: "{since?}" }
  returns: "[Transaction!]"
  not_found: null
"""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """The HTTP method."""
    endpoint: Annotated[Text, such_as("/accounts/{customer_id}")]
    """The path below the source's base URL, with references: `/accounts/{customer_id}`."""
    query: Annotated[dict[Text, Any], such_as({"userId": "{user_id}"})] = empty(dict)
    """Query parameters; a list repeats its parameter."""
    headers: Annotated[dict[Text, Text], such_as({"x-tenant": "{tenant}"})] = empty(dict)
    """Request headers in addition to those of the source."""
    body: Any = None
    """The JSON body."""
    expect: Annotated[list[Status], such_as([200, 202])] = empty(list)
    """The statuses that mean success; left out: every 2xx."""
    not_found: Literal[None, "error"] = "error"
    """`null` makes a 404 a null value instead of an error."""
    idempotent: bool = False
    """Whether a method other than GET and HEAD may be repeated."""
    idempotency_key: bool = False
    """Whether all attempts of a call carry the same `idempotency-key` header; the upstream recognizes repetitions by it, so that they are safe."""


class ApiSourceKeys(HttpSourceKeys):
    """The keys of an api source: a service that answers in JSON."""

    example = """\
core:
  type: api
  base_url: https://accounts.internal:8443/v1
  headers: { authorization: "{request.headers.authorization?}" }
  timeout_ms: 800
  retry: { attempts: 3, errors: [connect, timeout, 503] }
  concurrency: 50
"""

    base_url: Annotated[Text, such_as("https://accounts.internal:8443/v1")]
    """Scheme, host, port and the path that endpoints are appended to."""


class Api(StepType):
    """The step type ``api``; ``transports`` open the connection pools of its sources."""

    name = "api"
    keys = ApiKeys
    cancels_promptly = True
    takes_shape = True
    tells_freshness = True
    source_keys = ApiSourceKeys
    timeout_ms = 5000
    templated = ("endpoint", "query", "headers", "body")
    source_templated = ("headers",)

    def __init__(self, transports: Mapping[str, OpenTransport] = TRANSPORTS) -> None:
        self._transports = transports

    def inputs(self, keys: ApiKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the references of the endpoint in order, and the templates of query, headers and body."""
        return {
            "endpoint": tuple(part for part in template_parts(templates["endpoint"]) if isinstance(part, Reference)),
            "query": templates["query"],
            "headers": varying_headers(templates["headers"], templates["source"].get("headers", {})),
            **({"body": templates["body"]} if "body" in templates else {}),
        }

    def check(self, keys: ApiKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield the problems of the endpoint, the query, the headers and the body."""
        if not keys.endpoint.startswith("/") or keys.endpoint.startswith("//"):
            message = "an endpoint begins with one '/'; scheme and host belong to the source's 'base_url'"
            yield KeyProblem("endpoint", message, "bad-endpoint")
        elif "?}" in keys.endpoint:
            message = "a part of an endpoint cannot be left out; remove the '?' of the reference, or move it to 'query:'"
            yield KeyProblem("endpoint", message, "bad-endpoint")
        elif any(_FORBIDDEN.search(part) for part in _literals(keys.endpoint)):
            message = "an endpoint has no '#', backslash, white space or control character"
            yield KeyProblem("endpoint", message, "bad-endpoint")
        for name, value in keys.query.items():
            # A mapping of nulls only is a reference without quotes ({name} in YAML), which is reported elsewhere.
            if isinstance(value, dict) and any(item is not None for item in value.values()):
                yield KeyProblem(
                    ("query", name), "a mapping cannot stand in a query; put a reference in quotes: '{name}'", "wrong-type"
                )
        yield from check_headers(keys.headers)
        if keys.body is not None and keys.method in _SAFE_METHODS:
            yield KeyProblem("body", f"a {keys.method} has no body; remove it or set 'method:'", "unused-key")

    def check_source(self, keys: ApiSourceKeys) -> Iterator[KeyProblem]:
        """Yield the problems of the base URL and the headers."""
        if message := url_mistake(keys.base_url):
            yield KeyProblem("base_url", message, "bad-url")
        elif message := egress_mistake(keys.base_url, keys.egress):
            yield KeyProblem("base_url", message, "private-address")
        yield from check_headers(keys.headers)

    def check_files(self, keys: ApiSourceKeys, folder: str) -> Iterator[KeyProblem]:
        """Yield the problem of the file of authorities."""
        yield from check_tls(keys.tls, folder)

    def advise_source(self, keys: ApiSourceKeys) -> Iterator[KeyProblem]:
        """Yield a warning when plain HTTP leaves this machine, or certificates are not verified."""
        yield from advise_url("base_url", keys.base_url)
        yield from advise_tls(keys.tls)

    def is_idempotent(self, keys: ApiKeys) -> bool:
        """Tell whether the method is safe, or the step is declared idempotent."""
        return keys.method in _SAFE_METHODS or keys.idempotent or keys.idempotency_key

    def is_read(self, keys: ApiKeys) -> bool:
        """Tell whether the method is safe."""
        return keys.method in _SAFE_METHODS

    def describe(self, keys: ApiKeys) -> str:
        """Return the method, the endpoint and the query as written."""
        query = "&".join(f"{name}={value}" for name, value in keys.query.items())
        return f"{keys.method} {keys.endpoint}{'?' if query else ''}{query}"

    def connect(self, source: Source) -> AbstractAsyncContextManager[Transport]:
        """Open the connection pool of a source."""
        keys = source.keys
        assert isinstance(keys, ApiSourceKeys)
        return open_pool(self._transports, keys.base_url, source)

    def call(self, step: Step, connection: Transport) -> Call:
        """Return a call that sends one request and decodes its JSON response."""
        keys, source = step.keys, step.source
        assert isinstance(keys, ApiKeys)
        assert source is not None
        assert isinstance(source.keys, ApiSourceKeys)
        target = target_renderer(keys.endpoint)
        # Work that is the same for every call is done here, once.
        is_stored = keys.cache is not None or any(fallback.stale_ms for fallback in keys.fallback)
        method, is_idempotent, expected = keys.method, step.is_idempotent, keys.expect or range(200, 300)
        constant, sends_deadline = constant_headers(keys.headers, source.keys.headers), source.keys.send_deadline
        max_values = source.keys.max_response_values
        varies = bool(step.inputs["headers"]) or keys.body is not None or keys.idempotency_key or sends_deadline

        def headers_of(inputs: Inputs, context: CallContext) -> Headers:
            headers = [*constant, *encode_headers(inputs["headers"]), *context.trace_headers]
            if keys.idempotency_key:
                headers.append(("idempotency-key", context.idempotency_key))
            if sends_deadline:
                headers.append(deadline_header(context, step.timeout))
            if "body" in inputs:
                headers.append(("content-type", "application/json"))
            return headers

        async def send(inputs: Inputs, context: CallContext) -> Reply:
            headers = headers_of(inputs, context) if varies or context.trace_headers else constant
            body = encode(inputs["body"]) if "body" in inputs else None
            path = target(inputs["endpoint"], inputs["query"])
            response = await connection.send(UpstreamRequest(method, path, headers, body, is_idempotent))
            status = response.status
            if status in expected:
                value = None if method == "HEAD" else await decode(response, max_values, context.shape)
            elif status == 404 and keys.not_found is None:
                value = None
            else:
                raise status_fault(response)
            return Reply(value, status, len(response.body), *(freshness(response.headers) if is_stored else ()))

        return send

    def mock_call(self, step: Step, upstream: MockUpstream) -> Call:
        """Return the call over a mocked transport, which sends nothing."""
        return self.call(step, StandInTransport(upstream))


def _literals(endpoint: str) -> list[str]:
    """Return the literals of an endpoint; a malformed template has none here, because it is reported elsewhere."""
    try:
        return [part for part in template_parts(parse(endpoint)) if isinstance(part, str)]
    except TemplateError:
        return []
