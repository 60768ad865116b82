"""Two blueprints → the changes between them: of the schema, which clients see, and of behaviour, such as calls and timeouts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphql import BreakingChange, DangerousChange, GraphQLSchema, find_breaking_changes, find_schema_changes

from gateway.blueprint import Blueprint, Operation, Step
from gateway.blueprint.redaction import MASK
from gateway.blueprint.worst_case import worst_case
from gateway.schema.build import build_schema
from gateway.schema.settings_changes import settings_changes


@dataclass(frozen=True, slots=True)
class Change:
    """One change; ``kind`` is ``breaking``, ``dangerous`` or ``safe`` for clients, or ``behaviour``."""

    kind: str
    text: str


def breaking_changes(old: GraphQLSchema, new: GraphQLSchema) -> list[str]:
    """Return the changes of a new schema that break clients of the old one."""
    return [change.description.removesuffix(".") for change in find_breaking_changes(old, new)]


def changes(old: Blueprint, new: Blueprint) -> list[Change]:
    """Return all changes: those of the schema by severity, then those of behaviour."""
    found = find_schema_changes(build_schema(old), build_schema(new))
    schema_changes = [Change(_kind(change), change.description.removesuffix(".")) for change in found]
    order = ("breaking", "dangerous", "safe")
    schema_changes.sort(key=lambda change: order.index(change.kind))
    return [*schema_changes, *(Change("behaviour", text) for text in _behaviour(old, new))]


def _kind(change: object) -> str:
    if isinstance(change, BreakingChange):
        return "breaking"
    return "dangerous" if isinstance(change, DangerousChange) else "safe"


# -- behaviour


def _behaviour(old: Blueprint, new: Blueprint) -> Iterator[str]:
    for name in (name for name in old.operations if name in new.operations):
        yield from (f"{name}: {text}" for text in _operation_changes(old.operations[name], new.operations[name]))
    for key in (key for key in old.links if key in new.links):
        link, other = old.links[key], new.links[key]
        yield from (f"{link.step.name}: {text}" for text in _step_changes(link.step, other.step))
        yield from _difference(f"{link.step.name}: keys in one call", link.max, other.max)
    yield from _named_changes("overlay", _overlays(old), _overlays(new))
    yield from _named_changes("source", old.sources, new.sources)
    for name in (name for name in old.sources if name in new.sources):
        before, after = (blueprint.sources[name].keys.model_dump() for blueprint in (old, new))
        changed = [key for key in after if before.get(key) != after[key]] if before.keys() == after.keys() else ["type"]
        if changed:  # only the names of the keys: values of a source may be secrets
            yield f"source {name}: other {', '.join(changed)}"
        verified = (not blueprint.sources[name].keys.is_insecure for blueprint in (old, new))
        yield from _difference(f"source {name}: certificate verified", *map(_yes_or_no, verified))
    yield from settings_changes(old, new)


def _overlays(blueprint: Blueprint) -> dict[str, object]:
    """Return the conditions and patches of each overlay, by its name and operation."""
    return {
        f"{overlay.name} of {overlay.operation}": (overlay.when, [(patch.path, patch.value) for patch in overlay.patches])
        for overlay in blueprint.overlays
    }


def _named_changes(kind: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{kind} {name} removed" for name in old if name not in new)
    yield from (f"{kind} {name} added" for name in new if name not in old)
    if kind == "overlay":
        yield from (f"{kind} {name} changed" for name in old if name in new and old[name] != new[name])


def _operation_changes(old: Operation, new: Operation) -> Iterator[str]:
    yield from (f"step {name} removed" for name in old.steps if name not in new.steps)
    yield from (f"step {name} added: {step.description}" for name, step in new.steps.items() if name not in old.steps)
    for name in (name for name in old.steps if name in new.steps):
        yield from (f"{name}: {text}" for text in _step_changes(old.steps[name], new.steps[name]))
    yield from _difference("deadline", _ms(old.deadline), _ms(new.deadline))
    yield from _difference("concurrency", old.concurrency or "unlimited", new.concurrency or "unlimited")
    yield from _difference("worst-case latency", *(_ms(min(each.deadline, worst_case(each).seconds)) for each in (old, new)))


def _step_changes(old: Step, new: Step) -> Iterator[str]:
    yield from _difference("type", old.type, new.type)
    yield from _difference("call", old.description, new.description)
    yield from _difference("source", old.source.name if old.source else "none", new.source.name if new.source else "none")
    yield from _difference("timeout", _ms(old.timeout), _ms(new.timeout))
    policies, others = _policies(old), _policies(new)
    for what in {**policies, **others}:
        yield from _difference(what, policies.get(what, "none"), others.get(what, "none"))
    yield from _difference("required", _yes_or_no(old.is_required), _yes_or_no(new.is_required))
    yield from _difference("fallback", _fallbacks(old), _fallbacks(new))
    yield from _difference("when", _text(old.when), _text(new.when))
    yield from _difference("select", _text(old.select), _text(new.select))
    yield from _difference("waits for", _names(old), _names(new))
    # A change of inputs that the description does not show, such as headers. Their values may be secrets.
    if old.description == new.description and repr(old.inputs) != repr(new.inputs):
        yield "other inputs"


def _difference(what: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{what} {old} → {new}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def _text(expression: object) -> str:
    return getattr(expression, "text", "none")


def _policies(step: Step) -> dict[str, str]:
    return {what: text for name, policy in step.policies.items() for what, text in policy.in_words(name).items()}


def _names(step: Step) -> str:
    return ", ".join(step.prerequisites) or "nothing"


def _fallbacks(step: Step) -> str:
    mask = MASK if step.is_sensitive else None
    return ", ".join(fallback.describe(mask) for fallback in step.fallbacks) or "none"
