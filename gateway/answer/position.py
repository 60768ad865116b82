"""The position of a value in the response and in the plan; used while the code that completes it is generated."""

from dataclasses import dataclass, replace

from gateway.answer.code_writer import tuple_text
from gateway.document.selection import Parts, Selected
from gateway.plan.nodes import Hops, hops_below


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a value: its path in the response as Python expressions, the step that gave it, and its place in the plan.

    ``node`` is the index of the plan node whose value contains it, ``hops`` the path from the node's value to it.
    """

    path: tuple[str, ...]
    step: str
    node: int
    hops: Hops
    is_in_list: bool = False
    """Whether it is an item of a list, or inside one."""

    @property
    def path_text(self) -> str:
        """The path as Python source of a tuple."""
        return tuple_text(self.path)

    def field(self, part: Selected, parts: Parts) -> "Position":
        """Return the position of a field of the object at this position, of which ``parts`` are selected."""
        return replace(self, path=(*self.path, repr(part.key)), hops=hops_below(parts, part, self.hops))

    def item(self, index: str) -> "Position":
        """Return the position of an item of the list at this position; ``index`` is the name of the index variable."""
        return replace(self, path=(*self.path, index), is_in_list=True)
