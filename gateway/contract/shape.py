"""JSON text → objects of exactly the fields that a plan wants, their types checked on the way; and such objects → JSON text.

To read all of an upstream's answer into dictionaries, look at every value and build dictionaries of those that were asked for takes longer
than anything else that a request does. Where a plan knows beforehand all that it will read of a step's value, msgspec does these three things at
once: 100 posts with their users take 65 µs instead of 107 (`python -m tests.bench --only stages`: decoding, projection, encoding). What does not
fit is read in the usual way, so that errors are what they would be without this.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec

MAX_MISFITS = 20
"""Texts after which it is no use to try again: each that does not fit is read twice."""
LEAVES: Mapping[str, Any] = {
    "Int": Annotated[int, msgspec.Meta(ge=-2147483648, le=2147483647)],
    "Float": float,
    "String": str,
    "Boolean": bool,
    "ID": str | int,
}
"""Scalars whose values are told by their JSON type, as they come from an upstream. An ID may still have to be made a text."""
_encoder = msgspec.json.Encoder()


class Misfit(Exception):
    """A text is not of a shape, or no JSON at all."""


class Shaped(msgspec.Struct):
    """An object that was read by a shape. A field that the text has not is None; what a link leads to is set later."""


def object_type(name: str, fields: Sequence[tuple[str, Any, bool]]) -> type[Shaped]:
    """Return the type of objects with these fields: name, type, and whether each of them must be there."""
    described = [(field, declared) if is_needed else (field, declared | None, None) for field, declared, is_needed in fields]
    made: Any = msgspec.defstruct(name, described, bases=(Shaped,), kw_only=True, gc=False)
    return cast("type[Shaped]", made)


class Shape:
    """How the text of one node's value is read. ``forms`` are the types of its objects by the ``id`` of what is selected of them."""

    __slots__ = ("_decode", "forms", "misfits")

    def __init__(self, declared: Any, forms: Mapping[int, "ObjectForm"]) -> None:
        self._decode = msgspec.json.Decoder(declared).decode
        self.forms = forms
        self.misfits = 0

    def read(self, text: bytes) -> Any:
        """Return a value: scalars, :class:`Shaped` objects, and tuples of them where the text has lists.

        :raises Misfit: the text is not of this shape; read it in the usual way.
        """
        if self.misfits >= MAX_MISFITS:
            raise Misfit
        try:
            if not text.isascii():
                text.decode()  # what is left out is not looked at by the decoder
            return self._decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.misfits += 1
            raise Misfit from None


class ObjectForm:
    """The type of the objects of which one selection is made; ``is_answer`` when such an object is, as JSON, what is answered."""

    __slots__ = ("is_answer", "type")

    def __init__(self, made: type[Shaped], *, is_answer: bool) -> None:
        self.type = made
        self.is_answer = is_answer


def shaped_text(value: object) -> bytes:
    """Return a value that may have shaped objects in it as JSON in UTF-8."""
    return _encoder.encode(value)


def plain(value: Any) -> Any:
    """Return a value with dictionaries for shaped objects and lists for tuples."""
    return msgspec.json.decode(_encoder.encode(value))
