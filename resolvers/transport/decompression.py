"""Decompress a body piece by piece, and never produce more than a limit: a small body may expand to gigabytes."""

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from resolvers.transport.transport import malformed, too_large

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # detects which of the two from the header
_CHUNK = 65_536
"""About how many bytes are decoded at once, so that the limit is checked before much memory is used."""
_ZSTD_WINDOW_LOG = 23
"""The base-2 logarithm of the largest Zstandard window. RFC 9659 allows no more over HTTP (8 MiB)."""


class _Decoder(Protocol):
    """The interface of ``zlib.decompressobj``."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    @property
    def eof(self) -> bool: ...


class Decompressor:
    """Decompresses a body piece by piece. Memory stays within about ``max_bytes``, whatever the data expand to."""

    def __init__(self, decoder: _Decoder, error: type[Exception], max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._decoder = decoder
        self._error = error
        self._pieces: list[bytes] = []
        self._left = max_bytes

    def feed(self, piece: bytes) -> None:
        """Decode a piece of the compressed body; data after its end are ignored.

        :raises StepFault: the data are not compressed in this way, or the body is too large.
        """
        decoder = self._decoder
        while not decoder.eof:
            try:
                decoded = decoder.decompress(piece, _CHUNK)
            except self._error as error:
                raise malformed(f"compressed body: {error}") from error
            self._pieces.append(decoded)
            self._left -= len(decoded)
            if self._left < 0:
                raise too_large(f"body larger than {self._max_bytes} bytes")
            # Less than a full chunk: the decoder has used up the piece. Otherwise it may have more, even without further input.
            if len(decoded) < _CHUNK:
                return
            piece = decoder.unconsumed_tail

    def end(self) -> bytes:
        """Return the complete body.

        :raises StepFault: the data end early.
        """
        if not self._decoder.eof:
            raise malformed("compressed body ends early")
        return b"".join(self._pieces)


def decompressor_for(content_encoding: str, max_bytes: int) -> Decompressor | None:
    """Return the decompressor of a ``content-encoding``, or None for an unencoded body.

    Requests accept gzip only (``accept-encoding``), but some upstreams send another encoding all the same.

    :raises StepFault: the encoding is not supported.
    """
    encoding = content_encoding.strip().lower()
    if encoding in {"", "identity"}:
        return None
    create = _DECODERS.get(encoding)
    if create is None:
        raise malformed(f"content-encoding '{encoding[:40]}'")
    return Decompressor(*create(), max_bytes)


@dataclass(frozen=True, slots=True)
class _BufferingDecoder:
    """A decoder that buffers the input that it has not decoded yet, where zlib returns it as ``unconsumed_tail``."""

    decompress: Callable[[bytes, int], bytes]
    is_finished: Callable[[], bool]
    unconsumed_tail: bytes = b""

    @property
    def eof(self) -> bool:
        return self.is_finished()


def _zlib_decoder() -> tuple[_Decoder, type[Exception]]:
    return zlib.decompressobj(_GZIP_OR_ZLIB), zlib.error


def _zstd_decoder() -> tuple[_Decoder, type[Exception]]:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - few upstreams use it
    else:
        from backports import zstd  # noqa: PLC0415 - the same
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})
    return _BufferingDecoder(decompressor.decompress, lambda: decompressor.eof), zstd.ZstdError


def _brotli_decoder() -> tuple[_Decoder, type[Exception]]:
    import brotli  # noqa: PLC0415 - few upstreams use it

    decompressor = brotli.Decompressor()
    return _BufferingDecoder(
        lambda data, max_length: decompressor.process(data, output_buffer_limit=max_length), decompressor.is_finished
    ), brotli.error


_DECODERS: dict[str, Callable[[], tuple[_Decoder, type[Exception]]]] = {
    "gzip": _zlib_decoder,
    "x-gzip": _zlib_decoder,
    "deflate": _zlib_decoder,
    "br": _brotli_decoder,
    "zstd": _zstd_decoder,
}
