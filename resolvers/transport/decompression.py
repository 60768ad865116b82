"""The pieces of a compressed body → the body, of which no more is ever made than is allowed."""

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from resolvers.transport import malformed, too_large

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_STEP = 65_536
"""How many bytes are decoded at once, about: so that a body of any size is copied in small pieces."""
_ZSTANDARD_WINDOW = 23
"""The logarithm of the most bytes that Zstandard may look back; RFC 9659 lets no answer over HTTP need more."""


class _Decoder(Protocol):
    """What ``zlib.decompressobj`` makes."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    @property
    def eof(self) -> bool: ...


class Decompression:
    """Decodes a body piece by piece; memory stays within about ``max_bytes`` whatever the data expand to."""

    def __init__(self, decoder: _Decoder, error: type[Exception], max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._decoder = decoder
        self._error = error
        self._pieces: list[bytes] = []
        self._left = max_bytes

    def feed(self, piece: bytes) -> None:
        """Take a piece of the compressed body; what follows its end is left.

        :raises StepFault: it is not compressed data, or the body is too large.
        """
        decoder = self._decoder
        while not decoder.eof:
            try:
                decoded = decoder.decompress(piece, _STEP)
            except self._error as error:
                raise malformed(f"compressed body: {error}") from error
            self._pieces.append(decoded)
            self._left -= len(decoded)
            if self._left < 0:
                raise too_large(f"body larger than {self._max_bytes} bytes")
            if len(decoded) < _STEP:
                return
            piece = decoder.unconsumed_tail

    def end(self) -> bytes:
        """Return the whole body.

        :raises StepFault: the data end early.
        """
        if not self._decoder.eof:
            raise malformed("compressed body ends early")
        return b"".join(self._pieces)


def decompression(content_encoding: str, max_bytes: int) -> Decompression | None:
    """Return what undoes a ``content-encoding``, or None where there is nothing to undo. Only gzip is asked for.

    :raises StepFault: the encoding is none that is known.
    """
    encoding = content_encoding.strip().lower()
    if encoding in {"", "identity"}:
        return None
    make = _DECODERS.get(encoding)
    if make is None:
        raise malformed(f"content-encoding '{encoding[:40]}'")
    return Decompression(*make(), max_bytes)


@dataclass(frozen=True, slots=True)
class _Keeping:
    """A decoder that itself keeps what it has not decoded yet."""

    decompress: Callable[[bytes, int], bytes]
    is_finished: Callable[[], bool]
    unconsumed_tail: bytes = b""

    @property
    def eof(self) -> bool:
        return self.is_finished()


def _zlib() -> tuple[_Decoder, type[Exception]]:
    return zlib.decompressobj(_GZIP_OR_ZLIB), zlib.error


def _zstandard() -> tuple[_Decoder, type[Exception]]:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - few upstreams answer so
    else:
        from backports import zstd  # noqa: PLC0415 - the same
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTANDARD_WINDOW})
    return _Keeping(decompressor.decompress, lambda: decompressor.eof), zstd.ZstdError


def _brotli() -> tuple[_Decoder, type[Exception]]:
    import brotli  # noqa: PLC0415 - few upstreams answer so

    decompressor = brotli.Decompressor()
    return _Keeping(
        lambda data, most: decompressor.process(data, output_buffer_limit=most), decompressor.is_finished
    ), brotli.error


_DECODERS: dict[str, Callable[[], tuple[_Decoder, type[Exception]]]] = {
    "gzip": _zlib,
    "x-gzip": _zlib,
    "deflate": _zlib,
    "br": _brotli,
    "zstd": _zstandard,
}
