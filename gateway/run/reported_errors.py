"""Errors that an upstream reports beside a value → where in the value of a node they belong; for a link, to which of its keys.

The value itself is not touched: other steps read it as the upstream gave it. :mod:`gateway.answer.reported_errors` adds the errors to the
response.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from gateway.blueprint import Link
from gateway.blueprint.redaction import redact_detail
from gateway.contract import CallContext, Reply
from gateway.contract.call import ValuePath
from gateway.plan.nodes import Node
from gateway.run.execution import Execution
from gateway.run.joins import Key, keys_of
from gateway.run.results import ReportedErrors

_WHOLE: tuple[ValuePath, ...] = ((),)


def note_errors(run: Execution, node: Node, reply: Reply, context: CallContext) -> None:
    """Note the errors in the reply to a node. Those of a link stay in the context of the call until its results are matched."""
    # After a `select`, paths lead nowhere: the errors belong to the whole value.
    context.error_paths = reply.error_paths if node.step.select is None else _WHOLE
    detail = redact_detail(node.step, context.inputs, reply.error_detail)
    if node.index not in run.reported:
        run.reported[node.index] = ReportedErrors({}, detail)
    if node.use is None:
        _add(run.reported[node.index], None, context.error_paths)


def without_nulls(value: object) -> object:
    """Return the reply to a batch, in which errors were reported, without its nulls: these say nothing about the keys of the other items."""
    return [item for item in value if item is not None] if isinstance(value, list) else value


def note_batch_errors(run: Execution, node: Node, value: object, results: Mapping[Key, object], context: CallContext) -> None:
    """Note the errors in the reply to a batch by key; ``results`` are the values that were found in the reply for its keys.

    An error in an item belongs to the item's key, one without a place to all keys. One in an item that is null or has an unknown key belongs
    to the keys without a result.
    """
    assert node.use is not None
    reported = run.reported[node.index]
    concerned: dict[Key, None] = {}
    for path in context.error_paths:
        key, place = _placed(node.use.link, value, results, path)
        if key is not None:
            _add(reported, key, (place,))
        elif not path:
            concerned |= dict.fromkeys(results)
        elif not concerned:
            concerned |= dict.fromkeys([key for key, result in results.items() if result is None] or results)
    for key in concerned:
        _add(reported, key, _WHOLE)


def _placed(link: Link, value: Any, results: Mapping[Key, Any], path: ValuePath) -> tuple[Key | None, ValuePath]:
    """Return the key that an error belongs to, None if it is not known, and the place of the error in the result for that key."""
    if not link.match:
        return next(iter(results)), path
    item, rest = value, path
    if isinstance(value, list):
        item, rest = value[cast("int", path[0])] if path else None, path[1:]
    keys = keys_of(link, [item])
    result = results.get(keys[0]) if keys else None
    if keys is None or result is None:
        return None, ()
    if not link.is_list:
        return keys[0], rest if result is item else ()
    position = next((index for index, other in enumerate(result) if other is item), None)
    return keys[0], () if position is None else (position, *rest)


def _add(reported: ReportedErrors, key: Key | None, paths: Iterable[ValuePath]) -> None:
    reported.places.setdefault(key, {}).update(dict.fromkeys(paths))
