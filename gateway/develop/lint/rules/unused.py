"""Rules about parts that nothing uses, and about steps without a type."""

from collections.abc import Iterator

from graphql import (
    GraphQLNamedType,
    GraphQLObjectType,
    get_named_type,
    is_abstract_type,
    is_input_object_type,
    is_interface_type,
    is_object_type,
)

from gateway.blueprint import Operation
from gateway.blueprint.graph import closure
from gateway.develop.lint.finding import Occurrence
from gateway.develop.lint.subject import LintSubject, step_subject
from gateway.errors import Place


def unused_steps(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield steps that no field, step, condition or fallback uses, with or without overlays."""
    for variants in subject.operations.values():
        # A step that one overlay alone uses is used.
        used = set().union(*map(_used_steps, variants))
        for operation in variants:
            for step in operation.steps.values():
                if step.name not in used and not operation.is_mutation:
                    message = "nothing uses the step, so it is never run; expose it, refer to it, or remove it"
                    yield subject.at(step.place, "name"), step_subject(operation, step), message


def _used_steps(operation: Operation) -> set[str]:
    return closure(operation.strategy.steps, lambda name: operation.steps[name].prerequisites_with_fallbacks)


def unused_sources(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield sources that no step calls."""
    used = {step.source.name for _, step in subject.steps() if step.source}
    for source in subject.blueprint.sources.values():
        if source.name not in used:
            yield source.place, f"source {source.name}", "no step calls the source; remove it"


def unused_types(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield types of the SDL that cannot be reached from an operation, link or argument."""
    used = _used_types(subject)
    for declared in subject.blueprint.types.values():
        place = _declared_at(declared)
        if place is not None and declared.name not in used:
            yield place, f"type {declared.name}", "nothing leads to the type, so no query can see it; remove it"


def _declared_at(declared: GraphQLNamedType) -> Place | None:
    """Return the place of a type's name in its SDL file; None for types of other origins."""
    location = declared.ast_node.name.loc if declared.ast_node else None
    if location is None or not location.source.name.endswith(".graphql"):
        return None
    return Place(location.source.name, location.start_token.line, location.start_token.column)


def _used_types(subject: LintSubject) -> set[str]:
    used: set[str] = set()
    waiting: list[GraphQLNamedType] = [root for root in (subject.schema.query_type, subject.schema.mutation_type) if root]
    while waiting:
        named = waiting.pop()
        if named.name not in used:
            used.add(named.name)
            waiting += _referenced_types(subject, named)
    return used


def _referenced_types(subject: LintSubject, named: GraphQLNamedType) -> Iterator[GraphQLNamedType]:
    if is_abstract_type(named):
        yield from subject.schema.get_possible_types(named)
    if is_object_type(named) or is_interface_type(named):
        yield from named.interfaces
        for field in named.fields.values():
            yield get_named_type(field.type)
            yield from (get_named_type(argument.type) for argument in field.args.values())
    elif is_input_object_type(named):
        yield from (get_named_type(field.type) for field in named.fields.values())


def untyped_steps(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield steps that fill a field whose type is declared neither by the step nor in the SDL."""
    for variants in subject.operations.values():
        for operation in variants:
            composite = subject.blueprint.types.get(operation.returns)
            typed = composite.ast_node.fields or () if isinstance(composite, GraphQLObjectType) and composite.ast_node else ()
            names = {field.name.value for field in typed}
            for step in operation.steps.values():
                fills = step.is_exposed or step.name in operation.strategy.steps
                if fills and step.returns == "JSON" and step.keys.returns is None and step.field not in names:
                    message = "the field is JSON: nothing of it is checked or can be selected; add 'returns:'"
                    yield step.place, step_subject(operation, step), message
