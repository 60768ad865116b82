"""JSON text → objects with exactly the fields that a plan needs, with checked types; and such objects → JSON text.

Decoding a whole upstream reply into dictionaries, checking every value and building dictionaries of the selected fields costs more than any
other part of a request. Where a plan knows in advance all that it reads of a step's value, msgspec does the three in one pass: 100 posts with
their users take 65 µs instead of 107 (`python -m tests.bench --only stages`: decoding, projection, encoding). A text that does not fit is
decoded in the usual way, so that errors are the same as without shapes.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec

MAX_SHAPE_MISMATCHES = 20
"""Misfits after which a shape is no longer tried, because a text that does not fit is decoded twice."""
LEAVES: Mapping[str, Any] = {
    "Int": Annotated[int, msgspec.Meta(ge=-2147483648, le=2147483647)],
    "Float": float,
    "String": str,
    "Boolean": bool,
    "ID": str | int,
}
"""Scalars that can be checked by the JSON type of their values. An ID that is a number still has to be converted to text."""
_encoder = msgspec.json.Encoder()


class ShapeMismatch(Exception):
    """A text does not have a shape, or is not JSON at all."""


class Shaped(msgspec.Struct):
    """An object that was decoded by a shape. A field that is missing in the text is None; the values of links are set later."""


def object_type(name: str, fields: Sequence[tuple[str, Any, bool]]) -> type[Shaped]:
    """Return the type of objects with these fields: name, type, and whether the field is required."""
    described = [(field, declared) if is_required else (field, declared | None, None) for field, declared, is_required in fields]
    # Decoded JSON has no reference cycles, so the garbage collector need not track these objects.
    struct: Any = msgspec.defstruct(name, described, bases=(Shaped,), kw_only=True, gc=False)
    return cast("type[Shaped]", struct)


class Shape:
    """A decoder for the JSON text of one node's value. ``forms`` are the types of its objects, by the ``id`` of their selection."""

    __slots__ = ("_decode", "forms", "misfits")

    def __init__(self, declared: Any, forms: Mapping[int, "ObjectForm"]) -> None:
        self._decode = msgspec.json.Decoder(declared).decode
        self.forms = forms
        self.misfits = 0

    def read(self, text: bytes) -> Any:
        """Decode a text: scalars, :class:`Shaped` objects, and tuples of them for lists.

        :raises Misfit: the text does not have this shape; decode it in the usual way.
        """
        if self.misfits >= MAX_SHAPE_MISMATCHES:
            raise ShapeMismatch
        try:
            if not text.isascii():
                text.decode()  # the decoder skips unwanted fields without a check of their UTF-8
            return self._decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.misfits += 1
            raise ShapeMismatch from None  # the caller decodes again and reports that error


class ObjectForm:
    """The type of the objects of one selection. ``is_answer`` if the JSON of such an object is already the response's."""

    __slots__ = ("is_answer", "type")

    def __init__(self, struct: type[Shaped], *, is_answer: bool) -> None:
        self.type = struct
        self.is_answer = is_answer


def encode_shaped(value: object) -> bytes:
    """Encode a value, which may contain shaped objects, as JSON in UTF-8."""
    return _encoder.encode(value)


def to_builtins(value: Any) -> Any:
    """Convert shaped objects in a value to dictionaries, and tuples to lists."""
    return msgspec.json.decode(_encoder.encode(value))
