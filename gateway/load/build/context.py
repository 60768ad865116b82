"""``context:`` documents → the context values of requests, as expressions over the request (the paper's request adapter)."""

from collections.abc import Sequence

from gateway.errors import Problem, did_you_mean
from gateway.language.expression import Expression, ExpressionError, compile_expression
from gateway.load.read.decode import Decoded
from gateway.settings import ContextKeys


def read_context(documents: Sequence[Decoded[ContextKeys]], problems: list[Problem]) -> dict[str, Expression]:
    """Return the expressions of all documents by name. Invalid expressions are reported and replaced."""
    context: dict[str, Expression] = {}
    for decoded in documents:
        for name, text in decoded.keys.context.items():
            if name in context:
                message = f"a second context key of the name '{name}'"
                problems.append(decoded.problem(("context", name), message, "duplicate-name", is_about_key=True))
                continue
            try:
                context[name] = compile_expression(text)
            except ExpressionError as error:
                problems.append(decoded.problem(("context", name), f"not a JMESPath expression: {error}", "bad-expression"))
                # The name stays known, so that references to it are not reported as well.
                context[name] = compile_expression("request.id")
            mistakes = filter(None, map(_mistake, context[name].paths))
            problems += [decoded.problem(("context", name), message, "unknown-reference") for message in mistakes]
    return context


def _mistake(path: tuple[str, ...]) -> str | None:
    """Return the mistake in a path that an expression reads, or None."""
    if not path or path[0] != "request":
        hint = did_you_mean(path[0], ["request"]) if path else ""
        return f"a context value is made of 'request.id' and 'request.headers' alone{hint}"
    return request_mistake(path)


def request_mistake(path: tuple[str, ...]) -> str | None:
    """Return the mistake in a path into the request, or None. The path may end at the headers, for functions that take all of them."""
    if len(path) > 1 and path[1] not in {"id", "headers"}:
        return f"a request has no '{path[1]}', only 'id' and 'headers'{did_you_mean(path[1], ['id', 'headers'])}"
    if len(path) > 2 and path[1] == "headers" and path[2] != path[2].lower():
        return f"header names are lower-case here; write '{path[2].lower()}'"
    return None
