"""The context values of a request → its effective blueprint: the paper's request adapter and configuration resolver.

The overlays that match a request change its operations. Each distinct set of overlays is compiled once and cached, however many tenants
share it: after that a request costs its context values and one look-up per context key.
"""

import functools
import logging
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from gateway.blueprint import Blueprint, Operation, Overlay
from gateway.blueprint.overlay import condition_text
from gateway.contract import RequestContext
from gateway.errors import Code, ConfigurationError, RequestError
from gateway.language.expression import ExpressionError

log = logging.getLogger("stepgraph.overlays")

MAX_VARIANTS = 1000
"""How many compiled sets of overlays are cached; the least recently used one is evicted first."""


class Overlays:
    """The overlays of a blueprint, indexed by the context values of their conditions."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        # By the first condition of each overlay: matching() checks the others only for the overlays that it finds here.
        self._by_condition: dict[str, dict[str, list[int]]] = {}
        for position, overlay in enumerate(blueprint.overlays):
            key, values = next(iter(overlay.when.items()))
            for value in values:
                self._by_condition.setdefault(key, {}).setdefault(value, []).append(position)
        self._compiled = functools.lru_cache(maxsize=MAX_VARIANTS)(self._compile)
        self._effective_operation = functools.lru_cache(maxsize=MAX_VARIANTS)(blueprint.effective)

    def resolve(self, request: RequestContext) -> tuple[RequestContext, Blueprint]:
        """Return a request with its context values, and its effective blueprint.

        :raises RequestError: the matching overlays contradict each other.
        """
        if not self._blueprint.overlays:
            return request, self._blueprint
        adapted = self.adapt(request)
        return adapted, self.effective(self.matching(adapted.values))

    def adapt(self, request: RequestContext) -> RequestContext:
        """Return a request with its context values; they are evaluated once."""
        return request if request.values else request.with_values(self.values(request))

    def values(self, request: RequestContext) -> dict[str, object]:
        """Evaluate the context values of a request. A value that cannot be evaluated is null, as that of a missing header is."""
        scope = {"request": request.scope_value}
        values: dict[str, object] = {}
        for name, expression in self._blueprint.context.items():
            try:
                values[name] = expression.search(scope)
            except ExpressionError as error:
                log.info("context value failed", extra={"key": name, "detail": str(error), "request_id": request.request_id})
                values[name] = None
        return values

    def matching(self, values: Mapping[str, object]) -> tuple[int, ...]:
        """Return the positions of the matching overlays, in the order in which they apply. A list matches by any of its items."""
        overlays = self._blueprint.overlays
        positions = {
            position
            for key, by_value in self._by_condition.items()
            for text in _texts(values.get(key))
            for position in by_value.get(text, ())
            if _matches(overlays[position], values)
        }
        return tuple(sorted(positions))

    def effective(self, matching: tuple[int, ...]) -> Blueprint:
        """Return the blueprint with the effective operations of the overlays at these positions. It is the same object for the same set.

        :raises RequestError: these overlays contradict each other, though each is valid alone.
        """
        if not matching:
            return self._blueprint
        try:
            return self._compiled(matching)
        except ConfigurationError as error:
            names = ", ".join(self._blueprint.overlays[position].name for position in matching)
            log.error("overlays contradict each other: %s\n%s", names, error)  # noqa: TRY400 - no trace is wanted
            message = "The configuration for this request is not sound."
            raise RequestError(Code.INTERNAL_SERVER_ERROR, 500, {"message": message}) from None

    def _compile(self, matching: tuple[int, ...]) -> Blueprint:
        # Most operations are the same: only the changed ones are stored, in a ChainMap over the others.
        layers: dict[str, list[int]] = {}
        for position in matching:
            layers.setdefault(self._blueprint.overlays[position].operation, []).append(position)
        changed: dict[str, Operation] = {
            name: self._effective_operation(name, tuple(positions)) for name, positions in layers.items()
        }
        unchanged = cast("dict[str, Operation]", self._blueprint.operations)  # a ChainMap writes to its first mapping alone
        return replace(self._blueprint, operations=ChainMap(changed, unchanged))


def _matches(overlay: Overlay, values: Mapping[str, object]) -> bool:
    return all(not wanted.isdisjoint(_texts(values.get(key))) for key, wanted in overlay.when.items())


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of a context value as conditions compare them; null has none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (condition_text(item) for item in value if item is not None)
    elif value is not None:
        yield condition_text(value)
