"""JSON over HTTP, shared by ``api`` and ``graphql`` steps: connection pools, checks of URLs and headers, statuses, and caching."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import Annotated, Literal
from urllib.parse import urlsplit

import orjson

from gateway.blueprint import Source
from gateway.contract import CallContext, KeyProblem
from gateway.errors import Code, StepFault
from gateway.language.template import parse
from gateway.settings import ByteCount, Keys, Milliseconds, SourceKeys, Text, ValueCount, empty, such_as
from resolvers.certificates import TlsKeys, read_trust
from resolvers.transport.encoding import CONTROL, encode_headers, unusable_header_value
from resolvers.transport.http1 import Http1Transport
from resolvers.transport.names import is_numeric, is_public
from resolvers.transport.tls import SYSTEM, tls_context
from resolvers.transport.transport import Headers, Limits, Transport, UpstreamResponse

# Headers of the connection, which the transport sets itself.
_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

OpenTransport = Callable[[str, Limits], Transport]
"""Opens the connection pool of a base URL."""


def _open_httpx(base_url: str, limits: Limits) -> Transport:
    """Open a pool over httpx, which is imported only when a source uses it, because it takes 8 MiB of memory."""
    transport: Transport = import_module("resolvers.transport.httpx_transport").HttpxTransport(base_url, limits)
    return transport


TRANSPORTS: Mapping[str, OpenTransport] = {"http1": Http1Transport, "httpx": _open_httpx}


class EgressKeys(Keys):
    """``egress:`` of a source: where its calls may go."""

    example = "egress: { deny_private: true }"

    deny_private: bool = False
    """Whether calls may go to public addresses only, whatever the host name resolves to: not to this machine, private networks or
    link-local addresses (`127.0.0.1`, `10.0.0.0/8`, `169.254.169.254`, `::ffff:127.0.0.1`). For a third party's service."""


class HttpSourceKeys(SourceKeys):
    """The keys of every HTTP source."""

    headers: Annotated[dict[Text, Text], such_as({"authorization": "{request.headers.authorization?}"})] = empty(dict)
    """Headers of every call; nothing of the client's request is forwarded unless it is written here or at the step."""
    traceparent: bool = True
    """Whether calls carry the `traceparent` header of their trace, where requests are traced (`telemetry: { tracing: true }`)."""
    max_response_bytes: ByteCount = 5_000_000
    """The largest response body, after decompression."""
    max_response_values: ValueCount = 450_000
    """The most values in a response body: scalars, lists and objects together. With more, other requests would wait while they are read."""
    send_deadline: bool = False
    """Whether each call carries the header `x-request-deadline-ms`: for how many milliseconds the gateway waits for its response."""
    egress: Annotated[EgressKeys, such_as({"deny_private": True})] = EgressKeys()
    """Where calls may go."""
    tls: Annotated[TlsKeys, such_as({"ca": "certificates/internal.pem"})] = TlsKeys()
    """Which certificates of the service are accepted."""
    connection_max_age_ms: Milliseconds = 30_000
    """How long a connection to the service is used before a new one is opened, so that a new address of its name is found. Names are looked
    up again after 15 seconds."""
    transport: Literal["http1", "httpx"] = "http1"
    """The HTTP client: `http1`, the gateway's own, or the library `httpx`, which needs ten to forty times the CPU."""

    @property
    def is_insecure(self) -> bool:
        """Whether certificates are not verified."""
        return not self.tls.verify


@asynccontextmanager
async def open_pool(transports: Mapping[str, OpenTransport], base_url: str, source: Source) -> AsyncIterator[Transport]:
    """Open the connection pool of a source, and close it on exit."""
    keys = source.keys
    assert isinstance(keys, HttpSourceKeys)
    trust = SYSTEM
    if urlsplit(base_url).scheme == "https":
        trust = await asyncio.to_thread(read_trust, keys.tls, source.folder)
        await asyncio.to_thread(tls_context, trust)  # 10 ms at the first call, which would block the event loop
    max_age = keys.connection_max_age_ms / 1000
    limits = Limits(keys.concurrency, keys.max_response_bytes, keys.egress.deny_private, trust, max_age)
    transport = transports[keys.transport](base_url, limits)
    try:
        yield transport
    finally:
        await transport.aclose()


def merge_headers(own: Mapping[str, object], inherited: Mapping[str, object]) -> dict[str, object]:
    """Return the headers of a step and its source, with names in lower case; those of the step win."""
    return {name.lower(): value for headers in (inherited, own) for name, value in headers.items()}


def constant_headers(own: Mapping[str, str], inherited: Mapping[str, str]) -> Headers:
    """Return the headers that are the same in every call, encoded once; the others are inputs of the step."""
    values = {name: parse(str(text)) for name, text in merge_headers(own, inherited).items()}
    return tuple(encode_headers({name: value for name, value in values.items() if isinstance(value, str)}))


def varying_headers(own: Mapping[str, object], inherited: Mapping[str, object]) -> dict[str, object]:
    """Return the templates of the headers that contain references."""
    return {name: value for name, value in merge_headers(own, inherited).items() if not isinstance(value, str)}


def deadline_header(context: CallContext, timeout: float) -> tuple[str, str]:
    """Return the header with the milliseconds that the call may still take: until its timeout or the deadline, whichever is first."""
    left = min(timeout, context.deadline - asyncio.get_running_loop().time())
    return "x-request-deadline-ms", str(max(0, int(left * 1000)))


def check_headers(headers: Mapping[str, str]) -> Iterator[KeyProblem]:
    """Yield the problems of header names and literal header values."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield KeyProblem(("headers", name), f"'{name}' is not a header name", "bad-header", is_about_key=True)
        elif name.lower() in _HOP_BY_HOP:
            yield KeyProblem(
                ("headers", name), f"the header '{name}' belongs to the connection; remove it", "bad-header", is_about_key=True
            )
        elif unusable := unusable_header_value(value):
            yield KeyProblem(("headers", name), f"the value of '{name}' has {unusable}", "bad-header")


def url_mistake(text: str) -> str | None:
    """Return what is wrong with the URL of a source, or None for a valid one."""
    if "{" in text:
        return "a URL has no references: who is called is never up to a request"
    try:
        url = urlsplit(text)
        is_usable = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or url.query or url.fragment or CONTROL.search(text) or " " in text:
        return "not a URL that begins with http:// or https://, such as https://accounts.internal:8443/v1"
    if url.username is not None or url.password is not None:
        return "a URL has no credentials; send them in 'headers:'"
    return None


def egress_mistake(url: str, egress: EgressKeys) -> str | None:
    """Return a message when a URL contains an address that ``egress`` forbids, or None. Names are checked when they are resolved."""
    host = urlsplit(url).hostname or ""
    if egress.deny_private and is_numeric(host) and not is_public(host):
        return f"'{host}' is a private address, and 'egress: {{ deny_private: true }}' allows none; remove one of them"
    return None


def advise_url(key: str, text: str) -> Iterator[KeyProblem]:
    """Yield a warning when plain HTTP leaves this machine, because others can read it."""
    url = urlsplit(text)
    host = url.hostname or ""
    if url.scheme == "http" and host != "localhost" and not host.startswith("127.") and host != "::1":
        message = f"calls to '{host}' go over plain HTTP, and everything in them can be read on the way; write https://"
        yield KeyProblem(key, message, "plain-http")


def encode(value: object) -> bytes:
    """Encode a request body as JSON.

    :raises StepFault: it contains an integer of more than 64 bits.
    """
    try:
        return orjson.dumps(value)
    except TypeError as error:
        message = "A value of the request body is not one that JSON services take."
        raise StepFault(Code.BAD_USER_INPUT, message=message, detail=str(error)) from None


def status_fault(response: UpstreamResponse) -> StepFault:
    """Return the fault of a response with an error status; its kind is the status."""
    return StepFault(
        Code.SUBREQUEST_HTTP_ERROR,
        kind=str(response.status),
        status=response.status,
        retry_after=_retry_after(response.headers.get("retry-after", "")),
        detail=f"status {response.status}: {response.body[:500]!r}",
    )


def _retry_after(text: str) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which is a number or a date (RFC 9110, 10.2.3); None for anything else."""
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def freshness(headers: Mapping[str, str]) -> tuple[float | None, bool]:
    """Return the freshness lifetime of a response in seconds (None: not stated), and whether it must not be stored (RFC 9111)."""
    directives: dict[str, str] = {}
    for item in headers.get("cache-control", "").lower().split(","):
        name, _, value = item.strip().partition("=")
        directives[name] = value.strip('" ')
    # A response that sets a cookie, is private or varies by everything is for one client: sharing it would leak data.
    varies_by_all = "*" in {name.strip() for name in headers.get("vary", "").split(",")}
    if varies_by_all or "set-cookie" in headers or not directives.keys().isdisjoint({"no-store", "private"}):
        return None, True
    lifetime = directives.get("s-maxage", directives.get("max-age", ""))
    if "no-cache" in directives or not lifetime.isdecimal():
        return None, False
    age = headers.get("age", "")
    return max(0.0, float(lifetime[:10]) - float(age[:10] if age.isdecimal() else 0)), False
