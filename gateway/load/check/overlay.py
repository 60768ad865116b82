"""``overlay:`` documents → overlays, and the effective operations that result from them (the paper's configuration resolver).

An overlay is merged into the document of its operation, and the result is decoded and built like any other document: mappings merge, lists
and scalars replace, steps are matched by name. Source maps are merged too, so that a problem points into the right file. Each overlay is
checked alone on its operation. It must not change types, field names and arguments: they make the schema, which all requests share.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, islice

from gateway.blueprint import Operation, Origin, Overlay
from gateway.blueprint.graph import find_cycles
from gateway.blueprint.operation import OverlayField
from gateway.blueprint.overlay import Patch, condition_text
from gateway.errors import ConfigurationError, Problem, did_you_mean
from gateway.load.check.draft import CheckContext
from gateway.load.check.operation import build_operation
from gateway.load.check.references import context_mistake
from gateway.load.read.decode import Decoded, DecodedOperation, DecodedOverlay, decode_operation
from gateway.load.read.yaml_source import SourceMap, YamlDocument
from gateway.settings import ConditionValue, OverlayKeys

_LAYERS = ("steps", "aggregation", "deadline_ms", "concurrency")
"""The keys of an overlay that change the operation."""
MAX_CHECKED_TOGETHER = 500
"""Combinations of three and more overlays that are checked when a configuration is loaded, at about a millisecond each."""
_INDEPENDENT_KEYS = {"name", "timeout_ms", "retry", "depends_on", "when", "select"}
"""Keys of a step whose validity does not depend on its other keys."""
_SCHEMA_KEYS = ("returns", "as", "expose")
"""Keys of a step that affect the schema."""


@dataclass(frozen=True, slots=True)
class BaseOperation:
    """An operation without overlays, and the document from which it was built."""

    decoded: DecodedOperation
    operation: Operation


@dataclass(frozen=True, slots=True)
class OverlaidOperations:
    """Operations with the fields that only overlays fill, and their overlays in the order in which they apply."""

    operations: Mapping[str, Operation]
    overlays: tuple[Overlay, ...]
    layers: tuple[YamlDocument, ...]
    """The documents of the overlays, in the same order."""
    documents: Mapping[str, DecodedOperation]
    check_context: CheckContext

    def effective(self, name: str, positions: tuple[int, ...]) -> Operation:
        """Build the effective operation for a name and the positions of the overlays that apply.

        :raises ConfigurationError: the overlays are valid alone, but contradict each other.
        """
        problems: list[Problem] = []
        effective = _build(self.documents[name], [self.layers[position] for position in positions], self.check_context, problems)
        if effective is None:
            raise ConfigurationError(problems)
        return replace(effective, overlay_fields=self.operations[name].overlay_fields)


def overlay_fields(overlays: Sequence[DecodedOverlay]) -> dict[str, frozenset[str]]:
    """Return by operation the names of the fields that steps of overlays fill, as far as the overlays alone tell."""
    fields: dict[str, frozenset[str]] = {}
    for keys in (decoded.overlay.keys for decoded in overlays):
        added = (step for step in keys.steps if "type" in step and step.get("expose") is not False)
        fields[keys.operation] = fields.get(keys.operation, frozenset()).union(
            str(step.get("as") or step.get("name")) for step in added
        )
    return fields


def build_overlays(
    overlays: Sequence[DecodedOverlay],
    bases: Mapping[str, BaseOperation],
    names: set[str],
    context: CheckContext,
    problems: list[Problem],
) -> OverlaidOperations:
    """Check overlays on their operations. ``names`` are those of all operations, ``bases`` are the valid operations."""
    valid: list[DecodedOverlay] = []
    variants_of: dict[str, list[tuple[DecodedOverlay, Operation]]] = {}
    seen: set[tuple[str, str]] = set()
    for overlay in overlays:
        keys, before = overlay.overlay.keys, len(problems)
        _check_names(overlay.overlay, seen, names, context, problems)
        base = bases.get(keys.operation)
        if base is None:
            continue
        _check_steps(overlay.overlay, base, problems)
        if len(problems) == before:
            operation = _build(base.decoded, [overlay.document], context, problems)
            if operation is not None:
                valid.append(overlay)
                variants_of.setdefault(keys.operation, []).append((overlay, operation))
    operations = {name: base.operation for name, base in bases.items()}
    documents = {name: base.decoded for name, base in bases.items()}
    for name, variants in variants_of.items():
        operations[name] = _with_overlay_fields(operations[name], variants, problems)
        _check_added(operations[name], variants, problems)
        _check_cycles(operations[name], variants, problems)
        _check_together(documents[name], [overlay for overlay, _ in variants], context, problems)
    built = tuple(_overlay(overlay, bases[overlay.overlay.keys.operation].decoded) for overlay in valid)
    return OverlaidOperations(operations, built, tuple(overlay.document for overlay in valid), documents, context)


def _overlay(decoded: DecodedOverlay, base: DecodedOperation) -> Overlay:
    keys = decoded.overlay.keys
    when = {key: frozenset(map(condition_text, _values(value))) for key, value in keys.when.items()}
    return Overlay(keys.overlay, keys.operation, decoded.overlay.place, when, tuple(_patches(decoded.document, base)))


def _values(value: ConditionValue | list[ConditionValue]) -> list[ConditionValue]:
    return value if isinstance(value, list) else [value]


# -- checks


def _check_names(
    overlay: Decoded[OverlayKeys], seen: set[tuple[str, str]], names: set[str], context: CheckContext, problems: list[Problem]
) -> None:
    keys = overlay.keys
    if (keys.overlay, keys.operation) in seen:
        message = f"a second overlay '{keys.overlay}' of the operation '{keys.operation}'"
        problems.append(overlay.problem(("overlay",), message, "duplicate-name"))
    seen.add((keys.overlay, keys.operation))
    if keys.operation not in names:
        hint = did_you_mean(keys.operation, names) or "; an overlay changes a configured operation"
        problems.append(overlay.problem(("operation",), f"unknown operation '{keys.operation}'{hint}", "unknown-operation"))
    for key in keys.when:
        mistake = context_mistake(("context", key), context.context)
        if mistake:
            problems.append(overlay.problem(("when", key), *mistake, is_about_key=True))


def _check_steps(overlay: Decoded[OverlayKeys], base: BaseOperation, problems: list[Problem]) -> None:
    """Report steps that neither patch nor add a step, and patches of keys that affect the schema."""
    seen: set[str] = set()
    for index, step in enumerate(overlay.keys.steps):
        for key, message, code in _step_mistakes(step, base.decoded.step_names, seen):
            path = ("steps", index, *((key,) if key else ()))
            problems.append(overlay.problem(path, message, code, is_about_key=code in {"unpatchable-key", "unknown-key"}))
        seen.add(str(step.get("name")))


def _step_mistakes(step: Mapping[str, object], names: frozenset[str], seen: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the mistakes in a step of an overlay as (key, message, code). ``seen`` are the names of the steps before it."""
    name = str(step.get("name"))
    if "name" not in step:
        yield "", "the key 'name' is missing; it says which step is patched or added", "missing-key"
    elif name in seen:
        yield "name", f"a second step of the name '{name}'", "duplicate-name"
    elif "type" in step and name in names:
        message = f"the operation has a step '{name}'; remove 'type' to patch it, or give the new one another name"
        yield "type", message, "duplicate-name"
    elif "type" not in step and name not in names:
        hint = did_you_mean(name, names) or "; write 'type:' to add it"
        yield "name", f"unknown step '{name}'{hint}", "unknown-step"
    misspelt = (
        next((key for key in step if did_you_mean(key, ["type"])), None) if "type" not in step and name not in names else None
    )
    if misspelt:
        yield misspelt, f"unknown key '{misspelt}'; did you mean 'type'?", "unknown-key"
    for key in _SCHEMA_KEYS if "type" not in step and not misspelt else ():
        if key in step:
            yield key, f"'{key}' makes the schema, which all requests share; it cannot be patched", "unpatchable-key"


def _with_overlay_fields(base: Operation, variants: list[tuple[DecodedOverlay, Operation]], problems: list[Problem]) -> Operation:
    """Return an operation with the fields that only its overlays fill. In all overlays such a field must have the same origin and type."""
    fields: dict[str, OverlayField] = {}
    for overlay, operation in variants:
        decoded = overlay.overlay
        if operation.returns != base.returns:
            message = f"the value would be '{operation.returns}', not '{base.returns}'; pick a step of the same type"
            problems.append(decoded.problem(("aggregation", "step"), message, "type-conflict"))
        for field, origin in operation.strategy.origins.items():
            if field in base.strategy.origins:
                continue
            filled = OverlayField(origin, operation.steps[origin.step].returns)
            other = fields.setdefault(field, filled)
            if filled != other:
                message = f"another overlay fills the field '{field}' with '{other.returns}' of the step '{other.origin.step}'"
                problems.append(_at_step(overlay, origin, f"{message}; give it the same step and type", "type-conflict"))
            if origin.key is None and filled.returns.endswith("!"):
                message = f"the field '{field}' is null for requests without this overlay, so it cannot be '{filled.returns}'"
                problems.append(_at_step(overlay, origin, message, "type-conflict"))
    return replace(base, overlay_fields=fields)


def _check_added(base: Operation, variants: list[tuple[DecodedOverlay, Operation]], problems: list[Problem]) -> None:
    """Report steps that two overlays add with different types: where both match, the later one would replace the other."""
    types: dict[str, str] = {}
    for overlay, operation in variants:
        for name in operation.steps.keys() - base.steps.keys():
            step_type = operation.steps[name].type
            if types.setdefault(name, step_type) != step_type:
                message = f"another overlay adds the step '{name}' with the type '{types[name]}', not '{step_type}'; rename one"
                problems.append(_at_step(overlay, Origin(name), message, "type-conflict"))


def _check_cycles(base: Operation, variants: list[tuple[DecodedOverlay, Operation]], problems: list[Problem]) -> None:
    """Report cycles in the union of the references of all overlays. Without one no combination of overlays can have a cycle."""
    edges: dict[str, dict[str, None]] = {}
    for operation in (base, *(operation for _, operation in variants)):
        for name, step in operation.steps.items():
            edges.setdefault(name, {}).update(dict.fromkeys(step.prerequisites_with_fallbacks))
    for cycle in find_cycles(edges):
        # The last overlay with a step of the cycle is the one that closes it.
        overlay = next(item for item, _ in reversed(variants) if set(cycle) & {step["name"] for step in item.overlay.keys.steps})
        message = f"with all overlays the steps wait for each other: {' → '.join((*cycle, cycle[0]))}"
        problems.append(overlay.overlay.problem(("steps",), message, "cycle"))


def _check_together(
    base: DecodedOperation, overlays: list[DecodedOverlay], context: CheckContext, problems: list[Problem]
) -> None:
    """Check combinations of overlays that patch dependent keys of the same step and that can all match one request.

    All pairs are checked, and the first of the larger combinations. Any other is checked when a request matches it for the first time.
    """
    by_step: dict[str, list[int]] = {}
    for index, overlay in enumerate(overlays):
        for step in _steps_with_dependent_keys(overlay):
            by_step.setdefault(step, []).append(index)
    pairs = (pair for group in by_step.values() for pair in combinations(group, 2))
    larger = (chosen for group in by_step.values() for size in range(3, len(group) + 1) for chosen in combinations(group, size))
    contradictory: list[set[int]] = []
    for chosen in dict.fromkeys(chain(pairs, islice(larger, MAX_CHECKED_TOGETHER))):
        together = [overlays[index] for index in chosen]
        # A combination that contains a contradictory one has the same problem again.
        is_reported = any(set(chosen) >= fewer for fewer in contradictory)
        if is_reported or not _can_all_match([overlay.overlay.keys for overlay in together]):
            continue
        contradictions: list[Problem] = []
        _build(base, [overlay.document for overlay in together], context, contradictions)
        if contradictions:
            contradictory.append(set(chosen))
            others = ", ".join(f"'{overlay.overlay.keys.overlay}' ({overlay.overlay.place})" for overlay in together[:-1])
            problems += [replace(problem, message=f"{problem.message}; together with {others}") for problem in contradictions]


def _steps_with_dependent_keys(overlay: DecodedOverlay) -> set[str]:
    """Return the steps of an overlay with a key whose validity depends on other keys."""
    return {step["name"] for step in overlay.overlay.keys.steps if step.keys() - _INDEPENDENT_KEYS}


def _can_all_match(overlays: Sequence[OverlayKeys]) -> bool:
    """Tell whether there are context values that match all of these overlays."""
    allowed: dict[str, set[str]] = {}
    for keys in overlays:
        for key, value in keys.when.items():
            texts = set(map(condition_text, _values(value)))
            allowed[key] = allowed.get(key, texts) & texts
    return all(allowed.values())


def _at_step(overlay: DecodedOverlay, origin: Origin, message: str, code: str) -> Problem:
    steps = overlay.overlay.keys.steps
    index = next((index for index, step in enumerate(steps) if step["name"] == origin.step), 0)
    return overlay.overlay.problem(("steps", index), message, code)


# -- merging


def _build(
    base: DecodedOperation, layers: Sequence[YamlDocument], context: CheckContext, problems: list[Problem]
) -> Operation | None:
    """Decode and build an operation with overlays. Problems are added to ``problems`` and name the last overlay."""
    document = base.document
    for layer in layers:
        document = _apply(layer, document)
    subject = f"overlay {layers[-1].value['overlay']} · {base.operation.subject}"
    before = len(problems)
    decoded = decode_operation(document, context.step_types, problems, subject)
    if decoded is None or len(problems) != before:
        return None
    return build_operation(replace(decoded, overlay_fields=base.overlay_fields), context, problems)


def _apply(overlay: YamlDocument, base: YamlDocument) -> YamlDocument:
    """Return the document of an operation with an overlay merged into it."""
    layer = {key: overlay.value[key] for key in _LAYERS if key in overlay.value}
    steps = layer.pop("steps", None)
    value, marks = _merge(base.value, base.marks, layer, overlay.marks)
    assert isinstance(value, dict)
    if steps is None:
        return YamlDocument(value, marks)
    value["steps"], step_marks = _merge_steps(base, overlay)
    return YamlDocument(value, replace(marks, parts={**marks.parts, "steps": step_marks}))


def _merge(base: object, base_marks: SourceMap, over: object, over_marks: SourceMap) -> tuple[object, SourceMap]:
    """Merge two values and their source maps: mappings by key, of anything else ``over`` replaces ``base``."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over, over_marks
    value = dict(base)
    keys = {key: base_marks.key(key) for key in base_marks.keys}
    parts = {key: base_marks.part(key) for key in base_marks.parts}
    for key, item in over.items():
        keys[key] = over_marks.key(key)
        before, before_marks = (base[key], base_marks.part(key)) if key in base else (None, over_marks)
        value[key], parts[key] = _merge(before, before_marks, item, over_marks.part(key))
    return value, replace(over_marks, keys=keys, parts=parts)


def _merge_steps(base: YamlDocument, overlay: YamlDocument) -> tuple[list[object], SourceMap]:
    """Merge lists of steps by name. An added step replaces a step of the same name that another overlay has added."""
    steps = {str(step["name"]): (step, marks) for step, marks in _steps(base)}
    for step, marks in _steps(overlay):
        name = str(step["name"])
        steps[name] = (step, marks) if "type" in step else _merge(*steps[name], step, marks)  # type: ignore[assignment]
    parts: dict[object, SourceMap] = {index: marks for index, (_, marks) in enumerate(steps.values())}
    return [step for step, _ in steps.values()], replace(overlay.marks.part("steps"), parts=parts)


def _steps(document: YamlDocument) -> Iterator[tuple[Mapping[str, object], SourceMap]]:
    steps = document.value["steps"]
    assert isinstance(steps, list)
    for index, step in enumerate(steps):
        yield step, document.marks.part("steps").part(index)


# -- the changes of an overlay, for people


def _patches(overlay: YamlDocument, base: DecodedOperation) -> Iterator[Patch]:
    for step, marks in _steps(overlay) if "steps" in overlay.value else ():
        name = str(step["name"])
        if name not in base.step_names:
            yield Patch((name,), "added", marks.place)
            continue
        for key in (key for key in step if key != "name"):
            yield from _leaves((name, key), step[key], marks.part(key))
    for key in (key for key in _LAYERS[1:] if key in overlay.value):
        yield from _leaves((key,), overlay.value[key], overlay.marks.part(key))


def _leaves(path: tuple[str, ...], value: object, marks: SourceMap) -> Iterator[Patch]:
    if not isinstance(value, Mapping):
        yield Patch(path, value, marks.place)
        return
    for key, item in value.items():
        yield from _leaves((*path, key), item, marks.part(key))
