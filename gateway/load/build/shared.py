"""The documents that all units share → sources, defaults, Python types, and fields of the Blueprint."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.blueprint import Source
from gateway.errors import Problem, did_you_mean
from gateway.load.build.fields import read_fields
from gateway.load.build.unit import SharedParts, digest
from gateway.load.check.references import Scope, placed_references, read_templates
from gateway.load.read.decode import Decoded, DecodedDocuments, StepTypes
from gateway.load.types.classes import read_python_types
from gateway.settings import SourceKeys


def read_shared(
    decoded: DecodedDocuments, step_types: StepTypes, folder: str, before: SharedParts | None
) -> tuple[SharedParts, list[Problem]]:
    """Return the shared parts, without invalid sources, and all problems.

    A source that has not changed is the same object as before, so that its connection pool is kept.
    """
    problems = list(decoded.problems)
    python_types = read_python_types(decoded.classes, problems)
    fields = read_fields(decoded.of_kind, problems)
    names = Scope({}, {}, context=fields["context"])
    sources: dict[str, Source] = {}
    templates: dict[str, Mapping[str, object]] = {}
    digests: dict[str, str] = {}
    for name, source in decoded.sources.items():
        count = len(problems)
        source_templates = _templates(source, step_types, names, problems)
        problems += [
            source.from_key_problem(mistake) for mistake in step_types[source.keys.type].check_files(source.keys, folder)
        ]
        if len(problems) > count:
            continue
        digests[name] = digest(source.keys.type, source.keys.model_dump_json(), folder)
        is_unchanged = before is not None and before.digests.get(name) == digests[name]
        sources[name] = before.sources[name] if before and is_unchanged else Source(name, source.keys, folder, source.place)
        templates[name] = source_templates
    shared = SharedParts(
        sources,
        templates,
        frozenset(decoded.source_names),
        _defaults(decoded, problems),
        fields,
        python_types,
        decoded.classes[0][1] if decoded.classes else None,
        digests,
    )
    return shared, problems


def _templates(source: Decoded[SourceKeys], step_types: StepTypes, names: Scope, problems: list[Problem]) -> dict[str, object]:
    """Read the templates of a source, and report mistakes in the source."""
    step_type = step_types[source.keys.type]
    templates = read_templates(source, step_type.source_templated, problems)
    for placed in placed_references(source, templates):
        if placed.reference.root not in {"request", "context"}:
            message = f"'{placed.reference}' is not known to a source, only 'request' and 'context' are"
            problems.append(source.problem(placed.path, message, "unknown-reference"))
        elif mistake := names.mistake(placed.reference.path):
            problems.append(source.problem(placed.path, *mistake))
    problems += [source.from_key_problem(mistake) for mistake in step_type.check_source(source.keys)]
    return templates


def _defaults(decoded: DecodedDocuments, problems: list[Problem]) -> dict[str, str]:
    defaults = {}
    for step_type, (name, unknown) in decoded.defaults.items():
        # A wrong default is kept, so that the steps that use it are not reported as steps without a source.
        defaults[step_type] = name
        source = decoded.sources.get(name)
        if name not in decoded.source_names:
            problems.append(replace(unknown, message=unknown.message + did_you_mean(name, decoded.source_names)))
        elif source is not None and source.keys.type != step_type:
            message = f"the source '{name}' is of the type '{source.keys.type}', not '{step_type}'"
            problems.append(replace(unknown, message=message, code="wrong-source"))
    return defaults
