"""What rules look at: a blueprint, its schema, and the files that it was made of with the place of every value."""

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
    """A configuration, as rules see it.

    ``documents`` are read without any environment: only what stands in the files is in their values. ``operations`` are those of the
    blueprint, each followed by what every overlay alone makes of it.
    """

    blueprint: Blueprint
    schema: GraphQLSchema
    step_types: Mapping[str, StepType]
    documents: Sequence[YamlDocument]
    operations: Mapping[str, Sequence[Operation]]
    marks: Mapping[Place, SourceMap] = field(repr=False)

    def at(self, place: Place, *path: str | int) -> Place:
        """Return the place of the value under a path of keys of the mapping that begins at a place."""
        return self.marks[place].at(path) if place in self.marks else place

    def steps(self) -> Iterator[tuple[Operation | Link, Step]]:
        """Yield every step with what it belongs to: of operations, of what overlays make of these, of links."""
        for variants in self.operations.values():
            for operation in variants:
                yield from ((operation, step) for step in operation.steps.values())
        yield from ((link, link.step) for link in self.blueprint.links.values())


def read_subject(files: Files, blueprint: Blueprint, step_types: Mapping[str, StepType]) -> LintSubject:
    """Gather what rules look at; the blueprint was built of these files, and no schema of it yet."""
    documents = [
        document
        for file, text in files.texts.items()
        if not file.endswith(".graphql")
        for document in read_documents(file, text, {})[0]
    ]
    marks = {found.place: found for document in documents for found in _containers(document.marks)}
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
    """Return what people call an operation or a link."""
    return f"operation {owner.name}" if isinstance(owner, Operation) else f"field {owner.type}.{owner.field}"


def step_subject(owner: Operation | Link, step: Step) -> str:
    """Return what people call a step: a link's step is the link."""
    return owner_name(owner) if isinstance(owner, Link) else f"{owner_name(owner)} · step {step.name}"
