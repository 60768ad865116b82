"""Lines of Python source: indentation, blocks, fresh names, constants, functions. It knows nothing of what they mean."""

from collections.abc import Iterator
from contextlib import contextmanager


class CodeWriter:
    """Collects the lines of one function body, and the functions apart from it that the body calls.

    ``blocks`` counts the loops and ``try`` statements that are open, of which CPython nests 20 at the most.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.functions: list[str] = []
        self.constants: dict[str, object] = {}
        self.blocks = 0
        self.indent = 1
        self._names = 0

    def line(self, text: str) -> None:
        """Write one line."""
        self.lines.append("    " * self.indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write a compound statement; what is written meanwhile is its body."""
        is_nesting = head.startswith(("for ", "try"))
        self.line(head)
        self.indent += 1
        self.blocks += is_nesting
        yield
        self.indent -= 1
        self.blocks -= is_nesting

    @contextmanager
    def function(self, head: str, result: str) -> Iterator[None]:
        """Write a function apart; what is written meanwhile is its body, and ``result`` what it returns."""
        outer = self.lines, self.indent, self.blocks
        self.lines, self.indent, self.blocks = [], 1, 0
        yield
        self.functions += [head, *self.lines, f"    return {result}"]
        self.lines, self.indent, self.blocks = outer

    def name(self, prefix: str = "v") -> str:
        """Return a name that was not used before."""
        self._names += 1
        return f"{prefix}{self._names}"

    def constant(self, value: object) -> str:
        """Return the name of an object that the code refers to."""
        for name, known in self.constants.items():
            if known is value:
                return name
        name = self.name("k")
        self.constants[name] = value
        return name
