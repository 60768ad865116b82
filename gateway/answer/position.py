"""Where in a response and in a plan a value stands, while the code that completes it is written."""

from dataclasses import dataclass, replace

from gateway.answer.code_writer import tuple_text
from gateway.document.selection import Selected
from gateway.plan.nodes import Hops


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value stands: its path in the response as Python expressions, the step that gave it, and its place in the plan.

    ``node`` is the node whose value it is or lies in, ``hops`` the way from there.
    """

    path: tuple[str, ...]
    step: str
    node: int
    hops: Hops

    @property
    def path_text(self) -> str:
        """The path as the source of a tuple."""
        return tuple_text(self.path)

    def field(self, part: Selected) -> "Position":
        """Return the position of a field of the object that stands here."""
        return replace(self, path=(*self.path, repr(part.key)), hops=(*self.hops, part.name))

    def item(self, index: str) -> "Position":
        """Return the position of an item of the list that stands here."""
        return replace(self, path=(*self.path, index))
