"""Errors that upstreams report beside values → errors of the response, each at the nearest place that the client has selected.

A projection knows nothing of these errors: the values are what the upstreams gave. Here their places are found in the response: fields by
the aliases of the client, links below all parents with the key, and nothing below a null. Only responses that have such errors pay for that.
"""

from collections.abc import Iterator, Mapping, MutableSequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from graphql import GraphQLNonNull, GraphQLOutputType, is_abstract_type, is_list_type

from gateway.blueprint import Link
from gateway.contract.call import ValuePath
from gateway.contract.outcome import Failure, Skipped, Success
from gateway.contract.shape import Shaped
from gateway.document.selection import TYPENAME, Selected
from gateway.errors import Code, StepFault
from gateway.plan.links import selected_origins
from gateway.plan.nodes import Hops, LinkUse, Node, OfType, Plan
from gateway.run import Results
from gateway.run.joins import Key, LinkResult, key_of

MAX_REPORTED = 5000
"""Errors that are placed in one response. It tells far fewer (``server: { max_errors }``), but says how many there are."""
Path = tuple[str | int, ...]
_FAULT = StepFault(Code.DOWNSTREAM_SERVICE_ERROR)
_MISFIT = str(Code.RESPONSE_VALIDATION_FAILED)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place of the response with a value of a node: its path and field; ``prefix`` leads to it in the node's value, ``key`` is that of a link."""

    path: Path
    selected: Selected
    value: Any
    prefix: tuple[str, ...] = ()
    key: Key | None = None


def add_reported_errors(plan: Plan, results: Results, data: object, errors: MutableSequence[dict[str, Any]]) -> None:
    """Add the errors that were reported for values of a run to the errors of its response; ``data`` is the projected response."""
    known = {(error["extensions"]["step"], *error["path"]): index for index, error in enumerate(errors)}
    for node, exact, is_null in islice(_error_paths(plan, results), MAX_REPORTED):
        step = node.step.name
        path = exact if (step, *exact) in known else _visible(data, exact)
        index = known.get((step, *path))
        error = Failure.of(step, _FAULT).error(path)
        if index is None:
            known[step, *path] = len(errors)
            errors.append(error)
        elif is_null and errors[index]["extensions"]["code"] == _MISFIT:
            errors[index] = error  # it explains the null in a place where there must not be one
        elif errors[index]["extensions"]["code"] != str(_FAULT.code):
            known[step, *path] = len(errors)
            errors.append(error)


def _visible(data: Any, path: Path) -> Path:
    """Return a path as far as the response has it: nothing is below a null."""
    part: Any
    for length, part in enumerate(path, 1):
        data = data[part] if isinstance(data, dict | list | tuple) else getattr(data, str(part), None)
        if data is None:
            return path[:length]
    return path


def _error_paths(plan: Plan, results: Results) -> Iterator[tuple[Node, Path, bool]]:
    """Yield the node and path of each reported error, and whether the upstream's value at its place is null."""
    for index, reported in sorted(results.reported.items()):
        node = plan.nodes[index]
        if node.use is None:
            for error_path in reported.places.get(None, ()):
                for path, is_null in _step_error_paths(plan, results, node, error_path):
                    yield node, path, is_null
            continue
        for place in _link_places(plan, results, node, node.use):
            for error_path in reported.places.get(place.key, ()):
                for path, is_null in _descend(place.selected, place.selected.type, place.value, error_path, place.path):
                    yield node, path, is_null


def _step_error_paths(plan: Plan, results: Results, node: Node, error_path: ValuePath) -> Iterator[tuple[Path, bool]]:
    """Yield the paths of one error of a step. Where nothing is selected of what it concerns, it belongs to the operation."""
    places = list(_step_places(plan, results, node))
    for root in plan.roots:
        if root.call != node.call:
            continue
        concerned = [
            place for place in places if place.path[0] == root.selected.key and error_path[: len(place.prefix)] == place.prefix
        ]
        for place in concerned:
            value = _value_of(place)
            yield from _descend(place.selected, place.selected.type, value, error_path[len(place.prefix) :], place.path)
        if not concerned:
            yield (root.selected.key,), False


def _step_places(plan: Plan, results: Results, node: Node) -> Iterator[_Place]:
    """Yield the places with the value of a step: those of its own field, and of the steps whose fallback it was."""
    outcome, strategy = results.outcomes[node.index], plan.calls[node.call].operation.strategy
    if not isinstance(outcome, Success):
        return
    served = (plan.nodes[index] for index, others in results.fallbacks.items() if node.index in others)
    names = {node.step.name, *(other.step.name for other in served if _is_served_by(results, other, node))}
    for root in (root for root in plan.roots if root.call == node.call):
        for selected, origin in selected_origins(strategy, root.selected):
            if origin.step in names:
                path = (root.selected.key,) if strategy.whole is not None else (root.selected.key, selected.key)
                yield _Place(path, selected, outcome.value, (origin.key,) if origin.key else ())


def _is_served_by(results: Results, node: Node, substitute: Node) -> bool:
    outcome = results.outcomes[node.index]
    return isinstance(outcome, Success) and outcome.served_by == substitute.step.name


def _link_places(plan: Plan, results: Results, node: Node, use: LinkUse) -> Iterator[_Place]:
    """Yield the places with the values of a link: one for each of its parents that has a value."""
    outcome, parent_node = results.outcomes[node.index], plan.nodes[use.parent]
    if not isinstance(outcome, Success) or not isinstance(outcome.value, LinkResult):
        return
    use_above = parent_node.use
    above = _link_places(plan, results, parent_node, use_above) if use_above else _step_places(plan, results, parent_node)
    for place in above:
        if use.hops[: len(place.prefix)] != place.prefix:
            continue
        hops = use.hops[len(place.prefix) :]
        for path, parent, part in _parents(use, place.selected, place.selected.type, _value_of(place), place.path, hops):
            key = key_of(use.link, _key_fields(use.link, parent))
            value = None if key is None else outcome.value.values.get(key)
            if key is not None and not isinstance(value, Failure | Skipped):
                yield _Place(path, part, value, key=key)


def _key_fields(link: Link, parent: Any) -> dict[str, object]:
    """Return a parent; of one that was decoded by a shape its key, which is a single field."""
    return parent if isinstance(parent, dict) else {str(link.single): getattr(parent, str(link.single), None)}


def _parents(
    use: LinkUse, selected: Selected, declared: GraphQLOutputType, value: Any, path: Path, hops: Hops
) -> Iterator[tuple[Path, Any, Selected]]:
    """Yield the parents of a link at the end of ``hops`` with the link's fields in them: path of the field, parent, field."""
    inner = _nullable(declared)
    if is_list_type(inner) and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _parents(use, selected, inner.of_type, item, (*path, index), hops)
    if not isinstance(value, dict | Shaped):
        return
    if hops and isinstance(hops[0], OfType):
        # The fields of an object of another type are not followed: they belong to no parent of this link.
        hops = hops[1:] if _field(value, TYPENAME) in hops[0].names else ("",)
    for part in _selected_fields(selected, inner, value):
        if hops and part.name == hops[0]:
            yield from _parents(use, part, part.type, _field(value, part.name), (*path, part.key), hops[1:])
        elif not hops and part.name == use.link.field and part.arguments == use.arguments:
            yield (*path, part.key), value, part


def _descend(
    selected: Selected, declared: GraphQLOutputType, value: Any, rest: ValuePath, path: Path
) -> Iterator[tuple[Path, bool]]:
    """Yield the paths in the response that lead as far along a path within a value as it is selected, under each of its aliases."""
    inner = _nullable(declared)
    if not rest or value is None:
        yield path, value is None
    elif is_list_type(inner):
        part = rest[0]
        if isinstance(value, list | tuple) and type(part) is int and part < len(value):
            yield from _descend(selected, inner.of_type, value[part], rest[1:], (*path, part))
        else:
            yield path, False
    else:
        fields = [field for field in _selected_fields(selected, inner, value) if field.name == rest[0]]
        for field in fields:
            yield from _descend(field, field.type, _field(value, field.name), rest[1:], (*path, field.key))
        if not fields:
            yield path, False


def _nullable(declared: GraphQLOutputType) -> Any:
    return declared.of_type if isinstance(declared, GraphQLNonNull) else declared


def _selected_fields(selected: Selected, declared: GraphQLOutputType, value: Any) -> tuple[Selected, ...]:
    """Return the fields that are selected of an object; the type name in it tells which, if it may be of several types."""
    parts: Mapping[str, tuple[Selected, ...]] = selected.parts
    if is_abstract_type(declared):
        return parts.get(str(_field(value, TYPENAME)), ())
    return next(iter(parts.values()), ())


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _value_of(place: _Place) -> Any:
    """Return the value at a place."""
    value = place.value
    for name in place.prefix:
        value = _field(value, name)
    return value
