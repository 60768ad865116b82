"""What a request says about itself → the blueprint as it holds for that request: the paper's request adapter and configuration resolver.

The overlays that match make the effective operations. Each distinct set of them is compiled once and kept, however many tenants have it:
a request that finds its set pays for its context values and one look-up per context key.
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
"""How many sets of overlays are kept compiled; of what is not asked for any more the oldest goes first."""


class Overlays:
    """The overlays of a blueprint, found by the context values that they ask for."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self._first: dict[str, dict[str, list[int]]] = {}
        for position, overlay in enumerate(blueprint.overlays):
            key, values = next(iter(overlay.when.items()))
            for value in values:
                self._first.setdefault(key, {}).setdefault(value, []).append(position)
        self._made = functools.lru_cache(maxsize=MAX_VARIANTS)(self._make)
        self._operation = functools.lru_cache(maxsize=MAX_VARIANTS)(blueprint.effective)

    def resolve(self, request: RequestContext) -> tuple[RequestContext, Blueprint]:
        """Return a request with what overlays need to know of it, and the blueprint as it holds for it.

        :raises RequestError: the overlays that match contradict each other.
        """
        if not self._blueprint.overlays:
            return request, self._blueprint
        adapted = self.adapt(request)
        return adapted, self.effective(self.matching(adapted.values))

    def adapt(self, request: RequestContext) -> RequestContext:
        """Return a request with its context values, which are evaluated once."""
        return request if request.values else request.with_values(self.values(request))

    def values(self, request: RequestContext) -> dict[str, object]:
        """Evaluate the context of a request; what cannot be evaluated is null, as a missing header is."""
        said = {"request": request.said}
        values: dict[str, object] = {}
        for name, expression in self._blueprint.context.items():
            try:
                values[name] = expression.search(said)
            except ExpressionError as error:
                log.info("context value failed", extra={"key": name, "detail": str(error), "request_id": request.request_id})
                values[name] = None
        return values

    def matching(self, values: Mapping[str, object]) -> tuple[int, ...]:
        """Return the positions of the overlays that match, in the order in which they apply. A list matches by any of its items."""
        overlays = self._blueprint.overlays
        found = {
            position
            for key, by_value in self._first.items()
            for text in _texts(values.get(key))
            for position in by_value.get(text, ())
            if _holds(overlays[position], values)
        }
        return tuple(sorted(found))

    def effective(self, matching: tuple[int, ...]) -> Blueprint:
        """Return the blueprint with the effective operations of the overlays at these positions: the same one for the same set.

        :raises RequestError: these overlays, each sound alone, contradict each other.
        """
        if not matching:
            return self._blueprint
        try:
            return self._made(matching)
        except ConfigurationError as error:
            names = ", ".join(self._blueprint.overlays[position].name for position in matching)
            log.error("overlays contradict each other: %s\n%s", names, error)  # noqa: TRY400 - no trace is wanted
            message = "The configuration for this request is not sound."
            raise RequestError(Code.INTERNAL_SERVER_ERROR, 500, {"message": message}) from None

    def _make(self, matching: tuple[int, ...]) -> Blueprint:
        layers: dict[str, list[int]] = {}
        for position in matching:
            layers.setdefault(self._blueprint.overlays[position].operation, []).append(position)
        changed: dict[str, Operation] = {name: self._operation(name, tuple(positions)) for name, positions in layers.items()}
        unchanged = cast("dict[str, Operation]", self._blueprint.operations)  # a ChainMap writes to its first mapping alone
        return replace(self._blueprint, operations=ChainMap(changed, unchanged))


def _holds(overlay: Overlay, values: Mapping[str, object]) -> bool:
    return all(not wanted.isdisjoint(_texts(values.get(key))) for key, wanted in overlay.when.items())


def _texts(value: object) -> Iterator[str]:
    """Yield a context value as conditions are compared; null has no text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (condition_text(item) for item in value if item is not None)
    elif value is not None:
        yield condition_text(value)
