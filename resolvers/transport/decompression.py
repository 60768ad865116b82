"""The pieces of a compressed body → the body, of which no more is ever made than is allowed."""

import zlib

from resolvers.transport import malformed, too_large

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class Decompression:
    """Inflates gzip or zlib data piece by piece; memory stays within ``max_bytes`` whatever the data expand to."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._body = bytearray()

    def feed(self, piece: bytes) -> None:
        """Take a piece of the compressed body.

        :raises StepFault: it is not compressed data, or the body is too large.
        """
        try:
            self._body += self._inflate.decompress(piece, self._max_bytes + 1 - len(self._body))
        except zlib.error as error:
            raise malformed(f"compressed body: {error}") from error
        if len(self._body) > self._max_bytes:
            raise too_large(f"body larger than {self._max_bytes} bytes")

    def end(self) -> bytes:
        """Return the whole body.

        :raises StepFault: the data end early.
        """
        if not self._inflate.eof:
            raise malformed("compressed body ends early")
        return bytes(self._body)


def decompression(content_encoding: str, max_bytes: int) -> Decompression | None:
    """Return what undoes a ``content-encoding``, or None where there is nothing to undo.

    :raises StepFault: the encoding is none that was asked for.
    """
    encoding = content_encoding.strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise malformed(f"content-encoding '{encoding[:40]}'")
    return Decompression(max_bytes)
