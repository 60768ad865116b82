"""The input of lint rules: a blueprint, its schema, and its files with the place of every value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphql import GraphQLSchema

from gateway.blueprint import Blueprint, Link, Operation, Step
from gateway.contract import StepType
from gateway.errors import Place
from gateway.load.read.files import Files
from gateway.load.read.yaml_source import SourceMap, YamlDocument, read_documents
from gateway.schema.build import build_schema


@dataclass(frozen=True, slots=True)
class LintSubject:
    """A configuration as rules see it.

    ``documents`` are decoded without environment variables: their values have only what is written in the files. ``operations`` has, for
    each operation of the blueprint, a list of the operation itself and its variants, one for each overlay applied alone.
    """

    blueprint: Blueprint
    schema: GraphQLSchema
    step_types: Mapping[str, StepType]
    documents: Sequence[YamlDocument]
    operations: Mapping[str, Sequence[Operation]]
    marks: Mapping[Place, SourceMap] = field(repr=False)

    def at(self, place: Place, *path: str | int) -> Place:
        """Return the place of the value at ``path`` in the mapping that starts at ``place``."""
        return self.marks[place].at(path) if place in self.marks else place

    def steps(self) -> Iterator[tuple[Operation | Link, Step]]:
        """Yield every step with its owner: steps of operations, of their variants by overlays, and of links."""
        for variants in self.operations.values():
            for operation in variants:
                yield from ((operation, step) for step in operation.steps.values())
        yield from ((link, link.step) for link in self.blueprint.links.values())


def read_subject(files: Files, blueprint: Blueprint, step_types: Mapping[str, StepType]) -> LintSubject:
    """Collect the input of rules. The blueprint must be built from these files, and no schema must have been built from it yet."""
    documents = [
        document
        for file, text in files.texts.items()
        if not file.endswith(".graphql")
        for document in read_documents(file, text, {})[0]
    ]
    marks = {container.place: container for document in documents for container in _containers(document.marks)}
    return LintSubject(blueprint, build_schema(blueprint), step_types, documents, _operations(blueprint), marks)


def _containers(marks: SourceMap) -> Iterator[SourceMap]:
    if marks.parts:
        yield marks
        for key in marks.parts:
            yield from _containers(marks.part(key))


def _operations(blueprint: Blueprint) -> dict[str, list[Operation]]:
    variants = {name: [operation] for name, operation in blueprint.operations.items()}
    for position, overlay in enumerate(blueprint.overlays):
        variants[overlay.operation].append(blueprint.effective(overlay.operation, (position,)))
    return variants


def owner_name(owner: Operation | Link) -> str:
    """Return the display name of an operation or a link."""
    return f"operation {owner.name}" if isinstance(owner, Operation) else f"field {owner.type}.{owner.field}"


def step_subject(owner: Operation | Link, step: Step) -> str:
    """Return the display name of a step; the step of a link has the name of the link."""
    return owner_name(owner) if isinstance(owner, Link) else f"{owner_name(owner)} · step {step.name}"
