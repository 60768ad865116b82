"""JMESPath: the language of ``select`` and ``when``, and the only module that knows its library."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from gateway.errors import StepgraphError


class ExpressionError(StepgraphError):
    """An expression cannot be compiled, or failed while it was evaluated."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression; ``paths`` are the dotted paths that it reads from its input, each as far as it is known."""

    text: str
    paths: tuple[tuple[str, ...], ...]
    compiled: ParsedResult

    def search(self, value: object) -> object:
        """Evaluate over JSON data.

        :raises ExpressionError: a function got a value of the wrong type.
        """
        try:
            return self.compiled.search(value)
        except JMESPathError as error:
            raise ExpressionError(str(error)) from error


def compile_expression(text: str) -> Expression:
    """Compile an expression.

    :raises ExpressionError: with the library's own words on what is wrong and where.
    """
    try:
        compiled = jmespath.compile(text)
    except JMESPathError as error:
        raise ExpressionError(" ".join(str(error).split())) from error
    return Expression(text, tuple(dict.fromkeys(_paths(compiled.parsed))), compiled)


_FIRST_CHILD_READS_INPUT = {
    "pipe",
    "projection",
    "filter_projection",
    "value_projection",
    "index_expression",
    "flatten",
}


def _paths(node: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield what a node of the library's syntax tree reads from its input; ``@`` itself is the empty path."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        yield (node["value"],)
    elif kind == "current":
        yield ()
    elif kind == "subexpression":
        yield from _subexpression(children)
    elif kind in _FIRST_CHILD_READS_INPUT:
        yield from _paths(children[0])
    elif kind != "expref":
        for child in children:
            yield from _paths(child)


def _subexpression(children: list[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    heads = list(_paths(children[0]))
    names = []
    for child in children[1:]:
        if child["type"] != "field":
            break
        names.append(child["value"])
    is_plain = len(heads) == 1 and children[0]["type"] in {"field", "subexpression", "current"}
    yield from ((*heads[0], *names),) if is_plain else heads
