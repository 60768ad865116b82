"""A writer of Python source: lines, indentation, blocks, fresh names, constants, functions. It does not depend on what the code does."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.document.budget import PlanningBudget


class CodeWriter:
    """Collects the lines of the current function body, and the finished functions.

    ``blocks`` counts the open loops and ``try`` statements; CPython nests at most 20 of them.
    """

    def __init__(self, budget: PlanningBudget) -> None:
        self.budget = budget
        self.lines: list[str] = []
        self.functions: list[str] = []
        """The source of each finished function."""
        self.constants: dict[str, object] = {}
        self.blocks = 0
        self.indent = 1
        self._names = 0
        self._hoisted: dict[tuple[str, int], str] = {}
        self._constant_names: dict[int, str] = {}

    def line(self, text: str) -> None:
        """Write one line at the current indentation.

        :raises RequestError: the budget is spent.
        """
        self.budget.spend()
        self.lines.append("    " * self.indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write a compound statement; the lines written inside the ``with`` block are its body."""
        is_nesting = head.startswith(("for ", "try"))
        self.line(head)
        self.indent += 1
        self.blocks += is_nesting
        yield
        self.indent -= 1
        self.blocks -= is_nesting

    @contextmanager
    def function(self, head: str) -> Iterator[None]:
        """Write a separate function; the lines written inside the ``with`` block are its body."""
        outer = self.lines, self.indent, self.blocks, self._hoisted
        self.lines, self.indent, self.blocks, self._hoisted = [], 1, 0, {}
        yield
        hoisted = [f"    {name} = {expression}" for (expression, _), name in self._hoisted.items()]
        self.functions.append("\n".join([head, *hoisted, *self.lines]) + "\n")
        self.lines, self.indent, self.blocks, self._hoisted = outer

    def hoisted(self, expression: str, *, is_own: bool = False) -> str:
        """Return the name of an expression that is evaluated once, at the start of the function.

        Equal expressions share a name, unless ``is_own``: that is for a mutable object, which each place needs for itself.
        """
        identity = (expression, len(self._hoisted) if is_own else 0)
        if identity not in self._hoisted:
            self._hoisted[identity] = self.name("h")
        return self._hoisted[identity]

    def name(self, prefix: str = "v") -> str:
        """Return an unused name."""
        self._names += 1
        return f"{prefix}{self._names}"

    def constant(self, value: object) -> str:
        """Return the name of an object that the code refers to as a global; the same object keeps its name."""
        name = self._constant_names.get(id(value))
        if name is None:
            name = self._constant_names[id(value)] = self.name("k")
            self.constants[name] = value
        return name


def object_text(values: list[tuple[str, str]]) -> str:
    """Return the source of a dict, from its keys and the source of their values."""
    return "{" + ", ".join(f"{key!r}: {value}" for key, value in values) + "}"


def tuple_text(path: tuple[str, ...]) -> str:
    """Return the source of a tuple."""
    return f"({', '.join(path)},)"
