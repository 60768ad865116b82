"""``rate_limits:`` of the server → rules whose keys are checked expressions."""

from collections.abc import Mapping
from importlib.util import find_spec

from gateway.blueprint import RateLimits
from gateway.blueprint.blueprint import RateLimit
from gateway.errors import Problem, did_you_mean
from gateway.language.expression import Expression, ExpressionError, compile_expression
from gateway.load.build.context import request_mistake
from gateway.load.read.decode import Decoded
from gateway.settings import ServerDocumentKeys

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_ROOTS = ("request", "context", "peer")


def read_rate_limits(
    decoded: Decoded[ServerDocumentKeys], context: Mapping[str, Expression], problems: list[Problem]
) -> RateLimits | None:
    """Return the rate limits of the server, or None if it has none. Mistakes are added to ``problems``."""
    server = decoded.keys.server
    rules = []
    if server.rate_limit_store and (find_spec("redis") is None or find_spec("limits") is None):
        message = "the client of Redis is not installed; run: pip install 'stepgraph[redis]'"
        problems.append(decoded.problem(("server", "rate_limit_store"), message, "missing-package"))
    for position, keys in enumerate(server.rate_limits):
        path = ("server", "rate_limits", position, "key")
        try:
            key = compile_expression(keys.key)
        except ExpressionError as error:
            problems.append(decoded.problem(path, f"not a JMESPath expression: {error}", "bad-expression"))
            continue
        mistakes = filter(None, (_mistake(read, context) for read in key.paths))
        problems += [decoded.problem(path, message, "unknown-reference") for message in mistakes]
        rules.append(RateLimit(key, *_rate(keys.limit), is_moving=keys.window == "moving"))
    reads_context = any(path[:1] == ("context",) for rule in rules for path in rule.key.paths)
    return RateLimits(tuple(rules), server.rate_limit_store, int(server.trust_proxy_headers), reads_context) if rules else None


def _rate(text: str) -> tuple[int, int]:
    """Return the number of requests and the seconds of a rate such as `100/5 minutes`."""
    amount, _, time = text.partition("/")
    multiple, _, unit = time.rpartition(" ")
    return int(amount), int(multiple or 1) * _SECONDS[unit.removesuffix("s")]


def _mistake(path: tuple[str, ...], context: Mapping[str, Expression]) -> str | None:
    """Return the mistake in a path that the key of a rate limit reads, or None."""
    if not path or path[0] not in _ROOTS:
        hint = did_you_mean(path[0], _ROOTS) if path else ""
        return f"the key of a rate limit is made of 'request', 'context' and 'peer' alone{hint}"
    if path[0] == "request":
        return request_mistake(path)
    if path[0] == "context" and len(path) > 1 and path[1] not in context:
        return f"unknown context key '{path[1]}'{did_you_mean(path[1], context)}"
    return None
