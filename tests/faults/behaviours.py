"""The behaviours that a fault server is scripted with: each sends a valid or faulty response to one request.

Delays and intervals are seconds, sizes are bytes.
"""

import asyncio
import base64
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from tests.faults.server import Behaviour, Exchange

JSON_TYPE = {"content-type": "application/json"}
PIECE = 16_384
ZSTANDARD_BLOCK = 131_072
BROTLI_OF_300_MB = (
    "c-lMt|Gz!M5|=}dHaQf$|NrFwe|ZKWhQbJjUEk~f{QuAFz@)&(?eP6y|NsB>3?2+e5*c6I`~UI(e|`qe1`8dAyT9%K{r}IXz$nnp"
    "x}f_1agbpu439Q2l)V4{<Nts51{Mbyv4(el<^TWx&oF_Z<1o{Oz5gGNT0#{|^#8jaX7K2kqSVf65N^x^09AhI+y"
)
"""The half kilobyte of Brotli is itself repetitive: this is its zlib form, in base 85."""


@dataclass(frozen=True, slots=True)
class Json:
    """Answer a value as JSON, after an optional delay; the headers replace the default ones of the same name."""

    value: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0

    async def answer(self, exchange: Exchange) -> None:
        """Answer the value."""
        await asyncio.sleep(self.delay)
        body = json.dumps(self.value, allow_nan=False).encode()
        await exchange.reply(self.status, _merge(JSON_TYPE, self.headers), body)


@dataclass(frozen=True, slots=True)
class Text:
    """Answer a text as UTF-8."""

    body: str
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200

    async def answer(self, exchange: Exchange) -> None:
        """Answer the text."""
        await exchange.reply(self.status, {"content-type": self.content_type}, self.body.encode())


@dataclass(frozen=True, slots=True)
class Html:
    """Answer a page, as a proxy or a login wall does."""

    body: str = "<!doctype html><title>Welcome</title><h1>Please sign in</h1>"
    status: int = 200

    async def answer(self, exchange: Exchange) -> None:
        """Answer the page."""
        await Text(self.body, "text/html; charset=utf-8", self.status).answer(exchange)


@dataclass(frozen=True, slots=True)
class Status:
    """Answer a status, with an empty body unless one is given."""

    code: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    async def answer(self, exchange: Exchange) -> None:
        """Answer the status."""
        await exchange.reply(self.code, _merge({}, self.headers), self.body)


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer a redirect to any location, sound or not."""

    location: str
    status: int = 302

    async def answer(self, exchange: Exchange) -> None:
        """Answer the redirect."""
        await exchange.reply(self.status, {"location": self.location}, b"")


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait, then behave as another behaviour."""

    seconds: float
    then: Behaviour

    async def answer(self, exchange: Exchange) -> None:
        """Wait, then answer."""
        await asyncio.sleep(self.seconds)
        await self.then.answer(exchange)


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until the gate is set, then behave as another behaviour."""

    then: Behaviour
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, exchange: Exchange) -> None:
        """Wait for the gate to open, then answer."""
        await self.gate.wait()
        await self.then.answer(exchange)


@dataclass(frozen=True, slots=True)
class CloseWhenIdle:
    """Promise keep-alive in the answer, then close the connection, at once or `after` some seconds.

    A request that arrives in between is not read.
    """

    then: Behaviour
    after: float = 0.0

    async def answer(self, exchange: Exchange) -> None:
        """Answer, then close."""
        await self.then.answer(exchange)
        await asyncio.sleep(self.after)
        exchange.keep_alive = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Send bytes as they are, then close the connection."""

    data: bytes

    async def answer(self, exchange: Exchange) -> None:
        """Send the bytes, then close."""
        exchange.keep_alive = False
        await exchange.send(self.data)


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send bytes that are not HTTP (the start of a TLS handshake), then close the connection."""

    data: bytes = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"

    async def answer(self, exchange: Exchange) -> None:
        """Send the bytes, then close."""
        await Raw(self.data).answer(exchange)


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection once the request has been read."""

    async def answer(self, exchange: Exchange) -> None:
        """Send a TCP reset and nothing else."""
        exchange.reset()


@dataclass(frozen=True, slots=True)
class CloseWithoutAnswer:
    """Close the connection once the request has been read."""

    async def answer(self, exchange: Exchange) -> None:
        """Close normally, without sending a byte."""
        exchange.keep_alive = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Read the request and never answer."""

    async def answer(self, exchange: Exchange) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class HangAfterHeaders:
    """Send a head that promises a body, and never the body."""

    content_length: int = 100

    async def answer(self, exchange: Exchange) -> None:
        """Send the head, then wait until cancelled."""
        await exchange.stream(200, _length(self.content_length), ())
        await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class Drip:
    """Send the head at once and the body one byte per interval."""

    interval: float
    body: bytes = b'{"slow": true}'

    async def answer(self, exchange: Exchange) -> None:
        """Send the body byte by byte, each after the interval."""
        pieces = (bytes([byte]) for byte in self.body)
        await exchange.stream(200, _length(len(self.body)), pieces, self.interval)


@dataclass(frozen=True, slots=True)
class Truncate:
    """Promise more bytes than are sent, then close the connection."""

    body: bytes = b'{"x": 1}'
    missing: int = 10

    async def answer(self, exchange: Exchange) -> None:
        """Send the body under a Content-Length that is too large, then close."""
        await exchange.stream(200, _length(len(self.body) + self.missing), [self.body])
        exchange.keep_alive = False


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Send more bytes than promised and keep the connection, so that they precede the next response."""

    body: bytes = b'{"x": 1}HTTP/'
    excess: int = 5

    async def answer(self, exchange: Exchange) -> None:
        """Send the body under a Content-Length that is too small."""
        await exchange.stream(200, _length(len(self.body) - self.excess), [self.body])


@dataclass(frozen=True, slots=True)
class InvalidJson:
    """Answer with a JSON content type, but a body that is not JSON."""

    body: bytes = b'{"x": 1,}'

    async def answer(self, exchange: Exchange) -> None:
        """Answer the body as JSON."""
        await exchange.reply(200, JSON_TYPE, self.body)


@dataclass(frozen=True, slots=True)
class InvalidUtf8:
    """Answer JSON with a string that is not UTF-8."""

    async def answer(self, exchange: Exchange) -> None:
        """Answer the body as JSON."""
        await exchange.reply(200, JSON_TYPE, b'{"x": "\xff\xfe"}')


@dataclass(frozen=True, slots=True)
class NaN:
    """Answer a number that Python's json module accepts but JSON does not have."""

    token: str = "NaN"

    async def answer(self, exchange: Exchange) -> None:
        """Answer the body as JSON."""
        await exchange.reply(200, JSON_TYPE, b'{"x": %s}' % self.token.encode())


@dataclass(frozen=True, slots=True)
class DeepJson:
    """Answer arrays nested to a depth."""

    depth: int

    async def answer(self, exchange: Exchange) -> None:
        """Answer the arrays as JSON."""
        await exchange.reply(200, JSON_TYPE, b"[" * self.depth + b"]" * self.depth)


@dataclass(frozen=True, slots=True)
class Huge:
    """Answer a JSON string of `total_bytes`, at least 2; without a Content-Length the close ends it."""

    total_bytes: int
    with_length: bool = True

    async def answer(self, exchange: Exchange) -> None:
        """Send the string piece by piece until it ends or the peer leaves."""
        exchange.keep_alive = exchange.keep_alive and self.with_length
        headers = _length(self.total_bytes) if self.with_length else JSON_TYPE
        await exchange.stream(200, headers, _pieces_of_string(self.total_bytes))


@dataclass(frozen=True, slots=True)
class EndlessChunked:
    """Send chunks of a JSON string without end, each after the interval."""

    interval: float = 0.0

    async def answer(self, exchange: Exchange) -> None:
        """Send chunks until the peer leaves."""
        chunk = b"%x\r\n%s\r\n" % (PIECE, b"a" * PIECE)
        headers = {**JSON_TYPE, "transfer-encoding": "chunked"}
        await exchange.stream(200, headers, itertools.chain([b'1\r\n"\r\n'], itertools.repeat(chunk)), self.interval)


@dataclass(frozen=True, slots=True)
class GzipBomb:
    """Answer a JSON string of `uncompressed_bytes` as gzip, about a thousandth of it on the wire.

    The body is compressed when the behaviour is created, not at the first request: 300 MB take 1.1 s.
    """

    uncompressed_bytes: int

    def __post_init__(self) -> None:
        """Compress the body before a test measures time."""
        _gzip_of_string(self.uncompressed_bytes)

    async def answer(self, exchange: Exchange) -> None:
        """Answer the compressed string."""
        headers = {**JSON_TYPE, "content-encoding": "gzip"}
        await exchange.reply(200, headers, _gzip_of_string(self.uncompressed_bytes))


@dataclass(frozen=True, slots=True)
class BrotliBomb:
    """Answer a JSON string of 300 MB as Brotli, which is half a kilobyte on the wire."""

    async def answer(self, exchange: Exchange) -> None:
        """Answer the compressed string."""
        headers = {**JSON_TYPE, "content-encoding": "br"}
        await exchange.reply(200, headers, zlib.decompress(base64.b85decode(BROTLI_OF_300_MB)))


@dataclass(frozen=True, slots=True)
class ZstandardBomb:
    """Answer a JSON string of about `uncompressed_bytes` as Zstandard: blocks of four bytes that stand for 128 KiB each (RFC 8878, 3.1.1)."""

    uncompressed_bytes: int

    async def answer(self, exchange: Exchange) -> None:
        """Answer the compressed string."""
        headers = {**JSON_TYPE, "content-encoding": "zstd"}
        head, quote = b"\x28\xb5\x2f\xfd\x00\x58", b'"'
        blocks = _run_of(b"a", ZSTANDARD_BLOCK) * (self.uncompressed_bytes // ZSTANDARD_BLOCK)
        await exchange.reply(200, headers, head + _run_of(quote, 1) + blocks + _run_of(quote, 1, is_last=True))


@dataclass(frozen=True, slots=True)
class HeaderFlood:
    """Answer a small JSON object below header lines of `total_bytes` in all, `line_bytes` each."""

    total_bytes: int
    line_bytes: int = 1_000

    async def answer(self, exchange: Exchange) -> None:
        """Send the flood and the object."""
        names = (f"x-flood-{number:07}" for number in range(self.total_bytes // self.line_bytes))
        flood = {name: "a" * (self.line_bytes - len(name) - len(": \r\n")) for name in names}
        await exchange.reply(200, {**JSON_TYPE, **flood}, b'{"x": 1}')


def _run_of(byte: bytes, count: int, *, is_last: bool = False) -> bytes:
    return (is_last | 1 << 1 | count << 3).to_bytes(3, "little") + byte


def _merge(defaults: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    return {**defaults, **{name.lower(): value for name, value in headers.items()}}


def _length(content_length: int) -> dict[str, str]:
    return {**JSON_TYPE, "content-length": str(content_length)}


def _pieces_of_string(total_bytes: int) -> Iterator[bytes]:
    """Cut a JSON string of exactly `total_bytes`, quotes included, into pieces."""
    whole, rest = divmod(total_bytes - 2, PIECE)
    return itertools.chain([b'"'], itertools.repeat(b"a" * PIECE, whole), [b"a" * rest + b'"'])


@lru_cache(maxsize=8)
def _gzip_of_string(uncompressed_bytes: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    pieces = [compressor.compress(piece) for piece in _pieces_of_string(uncompressed_bytes)]
    return b"".join(pieces) + compressor.flush()
