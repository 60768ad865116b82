"""``type: api``: a JSON resource over HTTP.

Values are encoded, never spliced: in a path as one segment, in a query as one component. What could change the meaning of a
path or a header is refused before any call.
"""

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson

from gateway.blueprint import Source, Step
from gateway.errors import Code, StepFault
from gateway.resolver import Call, CallContext, Inputs, KeyProblem, Reply, StepType
from gateway.settings import ByteCount, SourceKeys, Status, StepKeys, Text, such_as
from gateway.template import Reference
from resolvers.encoding import CONTROL, encode_headers, parts_of, target_renderer
from resolvers.transport import HttpRequest, HttpResponse, Transport
from resolvers.transport.httpx_transport import HttpxTransport

MAX_JSON_DEPTH = 128
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
}
_SAFE_METHODS = {"GET", "HEAD"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


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
    query: Annotated[dict[Text, Any], such_as({"userId": "{user_id}"})] = {}
    """Query parameters; a list repeats its parameter."""
    headers: Annotated[dict[Text, Text], such_as({"x-tenant": "{tenant}"})] = {}
    """Request headers beside those of the source."""
    body: Any = None
    """The JSON body."""
    expect: Annotated[list[Status], such_as([200, 202])] = []
    """The statuses that are a success; left out: every 2xx."""
    not_found: Literal[None, "error"] = "error"
    """`null` makes a 404 a null value instead of an error."""
    idempotent: bool = False
    """Whether a method other than GET and HEAD may be repeated."""


class ApiSourceKeys(SourceKeys):
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
    headers: Annotated[dict[Text, Text], such_as({"authorization": "{request.headers.authorization?}"})] = {}
    """Headers of every call; nothing of the client's request is forwarded unless it is written here or at the step."""
    max_response_bytes: ByteCount = 5_000_000
    """The largest body that is read, after decompression."""


class Api(StepType):
    """The step type ``api``; ``open_transport`` makes the pool of a source."""

    name = "api"
    keys = ApiKeys
    source_keys = ApiSourceKeys
    timeout_ms = 5000
    templated = ("endpoint", "query", "headers", "body")
    source_templated = ("headers",)

    def __init__(self, open_transport: Callable[[str, int, int], Transport] = HttpxTransport) -> None:
        self._open_transport = open_transport

    def inputs(self, keys: ApiKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return references of the endpoint in order, and the trees of query, headers and body."""
        own = {name.lower(): value for name, value in templates["headers"].items()}
        inherited = {name.lower(): value for name, value in templates["source"].get("headers", {}).items()}
        return {
            "endpoint": tuple(part for part in parts_of(templates["endpoint"]) if isinstance(part, Reference)),
            "query": templates["query"],
            "headers": {**inherited, **own},
            **({"body": templates["body"]} if "body" in templates else {}),
        }

    def check(self, keys: ApiKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield what is wrong with the endpoint, the headers and the body."""
        if not keys.endpoint.startswith("/") or keys.endpoint.startswith("//"):
            message = "an endpoint begins with one '/'; scheme and host belong to the source's 'base_url'"
            yield KeyProblem("endpoint", message, "bad-endpoint")
        elif "?}" in keys.endpoint:
            message = "a part of an endpoint cannot be left out; remove the '?' of the reference, or move it to 'query:'"
            yield KeyProblem("endpoint", message, "bad-endpoint")
        elif any(character in keys.endpoint for character in "#\\ \r\n\t"):
            yield KeyProblem("endpoint", "an endpoint has no '#', backslash or white space", "bad-endpoint")
        yield from _check_headers(keys.headers)
        if keys.body is not None and keys.method in _SAFE_METHODS:
            yield KeyProblem("body", f"a {keys.method} has no body; remove it or set 'method:'", "unused-key")

    def check_source(self, keys: ApiSourceKeys) -> Iterator[KeyProblem]:
        """Yield what is wrong with the base URL and the headers."""
        if message := _base_url_mistake(keys.base_url):
            yield KeyProblem("base_url", message, "bad-url")
        yield from _check_headers(keys.headers)

    def is_idempotent(self, keys: ApiKeys) -> bool:
        """Tell whether the method is safe, or declared to be."""
        return keys.method in _SAFE_METHODS or keys.idempotent

    def describe(self, keys: ApiKeys) -> str:
        """Return the method, the endpoint and the query as written."""
        query = "&".join(f"{name}={value}" for name, value in keys.query.items())
        return f"{keys.method} {keys.endpoint}{'?' if query else ''}{query}"

    @asynccontextmanager
    async def connect(self, source: Source) -> AsyncIterator[Transport]:
        """Open the connection pool of a source."""
        keys = source.keys
        assert isinstance(keys, ApiSourceKeys)
        transport = self._open_transport(keys.base_url, keys.concurrency, keys.max_response_bytes)
        try:
            yield transport
        finally:
            await transport.aclose()

    def call(self, step: Step, connection: Transport) -> Call:
        """Return a call that sends one request and decodes its JSON."""
        keys = step.keys
        assert isinstance(keys, ApiKeys)
        target = target_renderer(keys.endpoint)

        async def send(inputs: Inputs, context: CallContext) -> Reply:
            headers = encode_headers(inputs["headers"])
            body = orjson.dumps(inputs["body"]) if "body" in inputs else None
            if body is not None:
                headers.append(("content-type", "application/json"))
            request = HttpRequest(keys.method, target(inputs["endpoint"], inputs["query"]), headers, body)
            response = await connection.send(request)
            if response.status == 404 and keys.not_found is None:
                return Reply(None, 404)
            if response.status not in keys.expect if keys.expect else not 200 <= response.status < 300:
                raise _status_fault(response)
            return Reply(None if keys.method == "HEAD" else _decode(response), response.status)

        return send


def _check_headers(headers: Mapping[str, str]) -> Iterator[KeyProblem]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield KeyProblem("headers", f"'{name}' is not a header name", "bad-header")
        elif name.lower() in _HOP_BY_HOP:
            yield KeyProblem("headers", f"the header '{name}' belongs to the connection; remove it", "bad-header")
        elif CONTROL.search(value):
            yield KeyProblem("headers", f"the value of '{name}' has a control character", "bad-header")


def _base_url_mistake(text: str) -> str | None:
    if "{" in text:
        return "a base URL has no references: who is called is never up to a request"
    try:
        url = urlsplit(text)
        is_usable = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or url.query or url.fragment or CONTROL.search(text) or " " in text:
        return "not a URL such as https://accounts.internal:8443/v1"
    if url.username is not None or url.password is not None:
        return "a base URL has no credentials; send them in 'headers:'"
    return None


def _status_fault(response: HttpResponse) -> StepFault:
    return StepFault(
        Code.SUBREQUEST_HTTP_ERROR,
        kind=str(response.status),
        status=response.status,
        retry_after=_retry_after(response.headers.get("retry-after", "")),
        detail=f"status {response.status}: {response.body[:500]!r}",
    )


def _retry_after(text: str) -> float | None:
    """Return seconds from a ``Retry-After`` header, which is a number or a date (RFC 9110, 10.2.3)."""
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _decode(response: HttpResponse) -> object:
    """Return the value of a JSON body; 204 and 205 are null.

    :raises StepFault: the body is not JSON, says that it is something else, or is nested too deep.
    """
    if response.status in {204, 205}:
        return None
    media_type = response.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise StepFault(
            Code.SUBREQUEST_MALFORMED_RESPONSE,
            detail=f"content type '{media_type[:80]}': {response.body[:200]!r}",
        )
    try:
        value = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        raise StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE, detail=f"{error}: {response.body[:200]!r}") from None
    if response.body.count(b"[") + response.body.count(b"{") > MAX_JSON_DEPTH and _depth(value) > MAX_JSON_DEPTH:
        raise StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE, detail=f"nested more than {MAX_JSON_DEPTH} deep")
    return value


def _depth(value: object) -> int:
    """Count the levels of a JSON value, one whole level at a time so that no depth can exhaust the stack."""
    depth = 0
    level = [value]
    while level:
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            if isinstance(child, dict | list)
        ]
        depth += 1
    return depth
