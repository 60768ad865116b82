"""Evaluate JMESPath with a budget of work: an expression over a large value must neither hold up the event loop nor fill the memory.

The unit of work is the evaluation of one node of the syntax tree, which takes 0.1 to 0.5 µs. The library evaluates without any limit. Here
everything that takes longer for larger values first spends what it is going to take.
"""

import heapq
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jmespath.functions import Functions, signature
from jmespath.visitor import TreeInterpreter

MAX_INLINE = 30_000
"""The work that may be done on the event loop: 3 to 15 ms."""
MAX_WORK = 10_000_000
"""The work of one evaluation in a thread: some seconds, and some hundred megabytes at the worst."""
SLICE = 1000
"""Items after which a loop spends again, so that it notices when its time is over."""
SORTED_AT_ONCE = 10_000
"""Items that are sorted in one call of C code, which does not let other threads run for 10 ms."""
_TEXT = 10
"""Characters of a new text that are one unit."""
_OBJECT = 10
"""The work of a new object in addition to its values, for its memory."""
Node = Mapping[str, Any]


class OutOfWork(Exception):
    """An evaluation needs more work than it may do."""


class OutOfTime(Exception):
    """An evaluation takes longer than it may."""


class Budget:
    """The work that an evaluation may do."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, amount: int) -> None:
        """Spend work before it is done.

        :raises OutOfWork: so much is not left.
        :raises OutOfTime: the time is over.
        """
        self.left -= amount
        if self.left < 0:
            raise OutOfWork


class TimedBudget(Budget):
    """The work that an evaluation in a thread may do, until a time of ``time.monotonic``, or until it is cancelled by another thread."""

    __slots__ = ("checked_at", "deadline", "is_cancelled")

    def __init__(self, deadline: float) -> None:
        super().__init__(MAX_WORK)
        self.deadline = deadline
        self.is_cancelled = False
        self.checked_at = MAX_WORK
        """What was left when the time was last looked at."""

    def spend(self, amount: int) -> None:
        """Spend work before it is done."""
        super().spend(amount)
        if self.checked_at - self.left >= SLICE:
            self.checked_at = self.left
            if self.is_cancelled or time.monotonic() > self.deadline:
                raise OutOfTime


def weighed(node: Node) -> dict[str, Any]:
    """Return a copy of a syntax tree in which each node has its ``weight``: the work of one evaluation without what its loops repeat."""
    if node["type"] == "slice":  # its children are numbers
        return {**node, "weight": 1}
    children = [weighed(child) for child in node["children"]]
    own = {"multi_select_dict": _OBJECT, "multi_select_list": 3, "function_expression": 3}.get(node["type"], 1)
    return {**node, "children": children, "weight": own + sum(child["weight"] for child in children)}


def evaluate(tree: Node, value: object, budget: Budget) -> object:
    """Evaluate a weighed syntax tree over JSON data.

    :raises OutOfWork: the budget is not enough.
    :raises OutOfTime: the time of the budget is over.
    """
    interpreter: Any = _Interpreter(budget)
    return interpreter.visit(tree, value)


class _Interpreter(TreeInterpreter):
    """The library's interpreter, whose loops spend."""

    def __init__(self, budget: Budget) -> None:
        # Not the constructor of the library: it makes a table of functions for each evaluation.
        self._method_cache: dict[str, Any] = {}
        self._dict_cls = dict
        self._functions = _FUNCTIONS
        self.budget = budget

    def visit_projection(self, node: Any, value: Any) -> list[Any] | None:
        base = self.visit(node["children"][0], value)
        return self._project(base, node["children"][1]) if isinstance(base, list) else None

    def visit_value_projection(self, node: Any, value: Any) -> list[Any] | None:
        base = self.visit(node["children"][0], value)
        return self._project(list(base.values()), node["children"][1]) if isinstance(base, dict) else None

    def visit_filter_projection(self, node: Any, value: Any) -> list[Any] | None:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        _, child, condition = node["children"]
        chosen: list[object] = []
        for part in _slices(base):
            self.budget.spend(len(part) * condition["weight"])
            chosen += [element for element in part if not _is_false(self.visit(condition, element))]
        return self._project(chosen, child)

    def _project(self, base: list[Any], child: Any) -> list[object]:
        collected = []
        for part in _slices(base):
            self.budget.spend(len(part) * child["weight"])
            for element in part:
                current = self.visit(child, element)
                if current is not None:
                    collected.append(current)
        return collected

    def visit_flatten(self, node: Any, value: Any) -> list[Any] | None:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        for part in _slices(base):
            self.budget.spend(len(part) + sum(len(element) for element in part if isinstance(element, list)))
        flat: list[Any] = []
        for element in base:
            flat.extend(element) if isinstance(element, list) else flat.append(element)
        return flat

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        arguments = [self.visit(child, value) for child in node["children"]]
        name, work, before = node["value"], _WORK.get(node["value"]), self.budget.left
        if work is not None:
            for amount in work(arguments):
                self.budget.spend(amount)
            if name == "to_string" and before - self.budget.left > MAX_INLINE:
                return _text_in_pieces(arguments[0])
        return self._functions.call_function(name, arguments)


def _is_false(value: object) -> bool:
    """Tell whether a value is false in JMESPath: null, false, or empty. 0 is not."""
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def _slices(items: list[Any]) -> Sequence[list[Any]]:
    return [items] if len(items) <= SLICE else [items[start : start + SLICE] for start in range(0, len(items), SLICE)]


class _Functions(Functions):
    """The library's functions, without calls of C code that take long and with loops that spend."""

    @signature({"types": ["expref"]}, {"types": ["array"]})
    def _func_map(self, expref: Any, arg: list[object]) -> list[object]:
        result: list[object] = []
        for part in _slices(arg):
            expref.interpreter.budget.spend(len(part) * expref.expression["weight"])
            result += [expref.visit(expref.expression, element) for element in part]
        return result

    @signature({"types": ["array-string", "array-number"]})
    def _func_sort(self, arg: list[Any]) -> list[Any]:
        return _sorted(arg, None)

    @signature({"types": ["array"]}, {"types": ["expref"]})
    def _func_sort_by(self, array: list[Any], expref: Any) -> list[Any]:
        library: Any = super()
        if len(array) <= SORTED_AT_ONCE:
            few: list[Any] = library._func_sort_by(array, expref)  # noqa: SLF001 - the library's way to override a function
            return few
        library._func_sort_by(array[:1], expref)  # noqa: SLF001 - checks the type of the first key, which all others must have
        kind = _KINDS[type(expref.visit(expref.expression, array[0]))]
        return _sorted(array, self._create_key_func(expref, [kind], "sort_by"))

    def _create_key_func(self, expref: Any, allowed_types: Sequence[str], function_name: str) -> Callable[[object], Any]:
        library: Any = super()
        key = library._create_key_func(expref, allowed_types, function_name)  # noqa: SLF001
        budget, weight = expref.interpreter.budget, expref.expression["weight"] + 1

        def spending_key(element: object) -> Any:
            budget.spend(weight)
            return key(element)

        return spending_key


_KINDS = {str: "string", int: "number", float: "number"}
_FUNCTIONS = _Functions()


def _sorted(items: list[Any], key: Callable[[Any], Any] | None) -> list[Any]:
    """Return a sorted list like ``sorted``; a long one in pieces that are merged, so that other threads run in between."""
    if len(items) <= SORTED_AT_ONCE:
        return sorted(items, key=key)
    pieces = [sorted(items[start : start + SORTED_AT_ONCE], key=key) for start in range(0, len(items), SORTED_AT_ONCE)]
    return list(heapq.merge(*pieces, key=key))


def _text_in_pieces(value: object) -> str:
    """Return the JSON text that the library's ``to_string`` makes of an object or list, with one call of C code for each scalar."""
    return "".join(json.JSONEncoder(separators=(",", ":"), default=str).iterencode(value))


# -- the work of functions


def _items(arguments: Sequence[Any]) -> Iterator[int]:
    """Yield the work of a loop over all arguments: their items, and the new text."""
    yield sum(len(argument) for argument in arguments if isinstance(argument, list | dict))


def _searched(arguments: Sequence[Any]) -> Iterator[int]:
    """Yield the work of looking through a list or text, which C code does."""
    subject = arguments[0]
    yield len(subject) // (1000 if isinstance(subject, str) else 16) if isinstance(subject, str | list) else 0


def _joined(arguments: Sequence[Any]) -> Iterator[int]:
    """Yield the work of joining texts: of the list, then of the new text."""
    yield from _items(arguments)
    separator, texts = arguments
    if isinstance(separator, str) and isinstance(texts, list):
        yield (len(separator) * len(texts) + sum(len(text) for text in texts if isinstance(text, str))) // _TEXT


def _text_of(arguments: Sequence[Any]) -> Iterator[int]:
    """Yield the work of writing a value as text, level by level. A value may refer to the same object very often, as in ``[@, @] | [@, @]``."""
    level: list[Any] = [arguments[0]] if isinstance(arguments[0], dict | list) else []
    while level:
        below: list[Any] = []
        for part in _slices(level):
            yield len(part) * 2
            for value in part:
                if isinstance(value, str):
                    yield len(value) // _TEXT
                elif isinstance(value, dict | list):
                    yield len(value)
                    below += value.values() if isinstance(value, dict) else value
        level = below


_WORK: Mapping[str, Callable[[Sequence[Any]], Iterator[int]]] = {
    **dict.fromkeys(("avg", "keys", "max", "merge", "min", "reverse", "sort", "sum", "values"), _items),
    "contains": _searched,
    "join": _joined,
    "to_string": _text_of,
}
"""The work of those functions that take longer for larger arguments, and do not spend themselves."""
