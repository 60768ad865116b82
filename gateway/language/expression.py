"""JMESPath, the language of ``select`` and ``when``. This is the only module that imports its library."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from gateway.errors import StepgraphError, did_you_mean
from gateway.language.evaluation import MAX_INLINE, Budget, OutOfTime, OutOfWork, TimedBudget, evaluate, weighed
from gateway.language.multiplication import multiplication


class ExpressionError(StepgraphError):
    """An expression cannot be compiled, or its evaluation failed."""


class TooMuchWork(ExpressionError):
    """An evaluation needs more work than it may do, or an expression can need far more than its input is large."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression; ``paths`` are the dotted paths that it reads from its input, each as far as it can be determined."""

    text: str
    paths: tuple[tuple[str, ...], ...]
    tree: Mapping[str, Any] = field(repr=False)
    """The syntax tree of the library, weighed."""

    def search(self, value: object, work: int = MAX_INLINE) -> object:
        """Evaluate over JSON data, on the event loop: with at most ``work`` (:mod:`gateway.language.evaluation`).

        :raises TooMuchWork: that is not enough.
        :raises ExpressionError: a function got a value of the wrong type.
        """
        return self.search_within(value, Budget(work))

    def search_within(self, value: object, budget: Budget) -> object:
        """Evaluate over JSON data within a budget, in a thread if it is large.

        :raises TooMuchWork: the budget is not enough.
        :raises TimeoutError: the time of the budget is over.
        :raises ExpressionError: a function got a value of the wrong type.
        """
        try:
            return evaluate(self.tree, value, budget)
        except JMESPathError as error:
            raise ExpressionError(str(error)) from error
        except OutOfWork:
            raise TooMuchWork("the value is too large for this expression") from None
        except OutOfTime:
            raise TimeoutError from None
        except RecursionError:
            raise ExpressionError("the value is nested too deep") from None


_THREADS = ThreadPoolExecutor(2, "expression")
"""The threads for large values. There are few, because each of them makes the event loop wait for its turn."""


async def search_in_thread(expression: Expression, value: object, seconds: float) -> object:
    """Evaluate over a large value in a thread, while the event loop goes on. Cancelled, the thread ends soon.

    :raises TimeoutError: it takes longer than ``seconds``.
    :raises ExpressionError: as :meth:`Expression.search_within`.
    """
    await asyncio.sleep(0)  # a run that must not wait ends here, before a thread is started
    budget = TimedBudget(time.monotonic() + seconds)
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().run_in_executor(_THREADS, expression.search_within, value, budget)
    finally:
        budget.is_cancelled = True


MAX_LENGTH = 10_000
MAX_MULTIPLICATION = 100
"""How many times an expression may contain its input in its result. Twenty times ``| [@, @][]`` would make a million of one."""


def compile_expression(text: str) -> Expression:
    """Compile an expression; also check its function names and the number of their arguments.

    :raises TooMuchWork: its result can be far larger than its input.
    :raises ExpressionError: it is not valid; the message says why.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    try:
        compiled = jmespath.compile(text)
        for node in _nodes(compiled.parsed):
            _check_function(node)
        if multiplication(compiled.parsed) > MAX_MULTIPLICATION:
            message = f"the expression can contain its input more than {MAX_MULTIPLICATION} times; use parts of it less often"
            raise TooMuchWork(message)
        return Expression(text, tuple(dict.fromkeys(_paths(compiled.parsed))), weighed(compiled.parsed))
    except JMESPathError as error:
        # The library draws a caret below the expression; a problem is shown in one line.
        raise ExpressionError(" ".join(str(error).replace("^", "").split())) from error
    except (RecursionError, ValueError):  # the library's parser is recursive, and int() refuses thousands of digits
        raise ExpressionError("nested too deep, or with a number that is too large") from None


def _nodes(node: Mapping[str, Any], parent: str = "") -> Iterator[Mapping[str, Any]]:
    # The library accepts '&' anywhere, but its value is an internal object that is not JSON.
    if node["type"] == "expref" and parent != "function_expression":
        raise ExpressionError("'&' belongs into the arguments of a function")
    yield node
    if node["type"] != "slice":  # its children are numbers
        for child in node["children"]:
            yield from _nodes(child, node["type"])


def _check_function(node: Mapping[str, Any]) -> None:
    """Check the name and the argument count of a function, which the library does only when it is called."""
    if node["type"] != "function_expression":
        return
    name, count = node["value"], len(node["children"])
    if name not in Functions.FUNCTION_TABLE:
        raise ExpressionError(f"unknown function '{name}'{did_you_mean(name, Functions.FUNCTION_TABLE)}")
    signature = Functions.FUNCTION_TABLE[name]["signature"]
    is_variadic = any(argument.get("variadic") for argument in signature)
    if count < len(signature) or (count > len(signature) and not is_variadic):
        raise ExpressionError(f"'{name}' takes {len(signature)} arguments, not {count}")


_PIPELINES = {"pipe", "projection", "filter_projection", "value_projection", "index_expression", "flatten"}
"""Node types whose first child reads the input; the other children read the first child's result."""


def _paths(node: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the paths that a node of the library's syntax tree reads from its input; the empty path is the whole input."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        yield (node["value"],)
    elif kind in {"current", "identity", "index", "slice"}:
        yield ()
    elif kind == "subexpression":
        yield from _subexpression(children)
    elif kind in _PIPELINES:
        yield from _paths(children[0])
    elif kind != "expref":  # it reads the items that its function passes in
        for child in children:
            yield from _paths(child)


def _subexpression(children: list[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the path of ``a.b.c`` as far as it consists of fields: an index or a projection ends it after the name before it."""
    heads = list(_paths(children[0]))
    if len(heads) != 1 or children[0]["type"] not in {"field", "current"}:
        yield from heads
        return
    names = list(heads[0])
    for child in children[1:]:
        first = child
        while first["type"] in _PIPELINES:
            first = first["children"][0]
        if first["type"] == "field":
            names.append(first["value"])
        if child["type"] != "field":
            break
    yield tuple(names)
