"""Models and types → the Blueprint: every name, reference, type and order is checked here, so that nothing later has to.

All problems are gathered before any is raised. Paper section 11 asks for "strong validation ... before rollout".
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.blueprint import Blueprint, Link, Operation, Source
from gateway.config.context import read_context
from gateway.config.decode import DecodedLink, DecodedOperation, Documents, StepTypes, decode
from gateway.config.draft import Surroundings
from gateway.config.link import build_link, links_by_type
from gateway.config.operation import build_operation
from gateway.config.overlay import Base, build_overlays, overlay_fields
from gateway.config.policy_rule import read_policy_rules
from gateway.config.python_types import read_python_types
from gateway.config.references import Names, placed_references, read_templates
from gateway.config.sdl import declared_types, read_types
from gateway.config.source import Files, YamlDocument, read_documents, read_files
from gateway.errors import ConfigurationError, Place, Problem, nearest
from gateway.settings import ServerKeys


def load(folder: Path, step_types: StepTypes, environment: Mapping[str, str] = os.environ) -> Blueprint:
    """Read a configuration folder.

    :raises ConfigurationError: with all problems of all files.
    """
    return build(read_files(folder), step_types, environment)


def build(files: Files, step_types: StepTypes, environment: Mapping[str, str] = os.environ) -> Blueprint:
    """Build the blueprint of files that were read.

    :raises ConfigurationError: with all problems of all files.
    """
    problems = list(files.problems)
    documents: list[YamlDocument] = []
    for file, text in files.texts.items():
        if not file.endswith(".graphql"):
            found, wrong = read_documents(file, text, environment)
            documents += found
            problems += wrong
    decoded = decode(documents, step_types)
    problems += decoded.problems
    python_types = read_python_types(decoded.classes, problems)
    sdl = {file: text for file, text in files.texts.items() if file.endswith(".graphql")}
    of_classes = python_types, decoded.classes[0][1] if decoded.classes else None
    types, wrong = read_types(sdl, *of_classes)
    problems += wrong
    context = read_context(decoded.contexts, problems)
    server = _server(decoded, problems)
    policy_rules = read_policy_rules(decoded.policies, problems)
    sources, templates = _sources(decoded, step_types, Names({}, {}, context=context), str(files.folder), problems)
    names = frozenset(decoded.source_names)
    around = Surroundings(sources, templates, names, _defaults(decoded, problems), step_types, types, context)
    bases = _operations(decoded, around, problems)
    known = {found.operation.keys.operation for found in decoded.operations}
    # Effective operations are built while the gateway serves, and by then the schema has added fields to the blueprint's types.
    untouched = replace(around, types=read_types(sdl, *of_classes)[0]) if decoded.overlays else around
    overlaid = build_overlays(decoded.overlays, bases, known, untouched, problems)
    links = _links(decoded, around, bases, problems)
    if not problems and not bases:
        place = Place(str(files.folder))
        problems.append(Problem(place, "folder", "no operation; write a document with 'operation: <name>'", "no-operation"))
    if problems or types is None:
        raise ConfigurationError(_without_consequences(problems))
    return Blueprint(
        version=files.version,
        sources=sources,
        operations=overlaid.operations,
        links=links,
        types=declared_types(types),
        context=context,
        overlays=overlaid.overlays,
        overlaid=frozenset(overlay.operation for overlay in overlaid.overlays),
        effective=overlaid.effective,
        server=server,
        policy_rules=policy_rules,
    )


def _server(decoded: Documents, problems: list[Problem]) -> ServerKeys:
    for second in decoded.servers[1:]:
        message = f"a second 'server:', first at {decoded.servers[0].place}"
        problems.append(second.problem(("server",), message, "duplicate-name", is_about_key=True))
    return decoded.servers[0].keys.server if decoded.servers else ServerKeys()


def _without_consequences(problems: list[Problem]) -> list[Problem]:
    """Leave out what is wrong with a value only because its environment variable is not set."""
    unset = {problem.place for problem in problems if problem.code == "missing-environment"}
    return [problem for problem in problems if problem.code == "missing-environment" or problem.place not in unset]


def _sources(
    decoded: Documents, step_types: StepTypes, names: Names, folder: str, problems: list[Problem]
) -> tuple[dict[str, Source], dict[str, dict[str, object]]]:
    sources, templates = {}, {}
    for name, found in decoded.sources.items():
        step_type = step_types[found.keys.type]
        sources[name] = Source(name, found.keys, folder, found.place)
        templates[name] = read_templates(found, step_type.source_templated, problems)
        for placed in placed_references(found, templates[name]):
            if placed.reference.root not in {"request", "context"}:
                message = f"'{placed.reference}' is not known to a source, only 'request' and 'context' are"
                problems.append(found.problem(placed.path, message, "unknown-reference"))
            elif mistake := names.mistake(placed.reference.path):
                problems.append(found.problem(placed.path, *mistake))
        problems += [found.of_key(wrong) for wrong in step_type.check_source(found.keys)]
    return sources, templates


def _defaults(decoded: Documents, problems: list[Problem]) -> dict[str, str]:
    defaults = {}
    for step_type, (name, unknown) in decoded.defaults.items():
        # A default that is wrong still is one: the steps that use it are not to blame.
        defaults[step_type] = name
        source = decoded.sources.get(name)
        if name not in decoded.source_names:
            problems.append(replace(unknown, message=unknown.message + nearest(name, decoded.source_names)))
        elif source is not None and source.keys.type != step_type:
            message = f"the source '{name}' is of the type '{source.keys.type}', not '{step_type}'"
            problems.append(replace(unknown, message=message, code="wrong-source"))
    return defaults


def _links(
    decoded: Documents, around: Surroundings, bases: Mapping[str, Base], problems: list[Problem]
) -> dict[tuple[str, str], Link]:
    composites = {base.operation.returns: name for name, base in bases.items() if base.operation.picked is None}
    built: list[tuple[DecodedLink, Link]] = []
    seen: dict[str, Place] = {}
    for found in decoded.links:
        name = found.link.keys.field
        if name in seen:
            message = f"a second link for '{name}', first at {seen[name]}"
            problems.append(found.link.problem(("field",), message, "duplicate-name"))
        seen.setdefault(name, found.link.place)
        owner = name.partition(".")[0]
        if owner in composites:
            message = f"the fields of '{owner}' are those of the steps of the operation '{composites[owner]}'; add a step to it"
            problems.append(found.link.problem(("field",), message, "link-of-operation"))
        link = build_link(found, around, problems)
        if link is not None:
            built.append((found, link))
    return links_by_type(built, around.types, problems) if around.types else {}


def _operations(decoded: Documents, around: Surroundings, problems: list[Problem]) -> dict[str, Base]:
    bases: dict[str, Base] = {}
    fields = overlay_fields(decoded.overlays)
    seen: dict[str, Place] = {}
    composites: dict[str, str] = {}
    for found in decoded.operations:
        name = found.operation.keys.operation
        if name in seen:
            message = f"a second operation of the name '{name}', first at {seen[name]}"
            problems.append(found.operation.problem(("operation",), message, "duplicate-name"))
        is_first = seen.setdefault(name, found.operation.place) is found.operation.place
        expected = replace(found, overlay_fields=fields.get(name, frozenset()))
        operation = build_operation(expected, around, problems)
        if operation is None or not is_first:
            continue
        if operation.picked is None:
            if operation.returns in composites:
                message = f"the operation '{composites[operation.returns]}' has the type '{operation.returns}' too; set 'type:'"
                problems.append(found.operation.problem(("operation",), message, "duplicate-type"))
            composites.setdefault(operation.returns, name)
        bases.setdefault(name, Base(_with_arguments(expected, operation), operation))
    return bases


def _with_arguments(decoded: DecodedOperation, operation: Operation) -> DecodedOperation:
    """Write down the arguments that were inferred: overlays add none."""
    args = {argument.name: argument.type for argument in operation.arguments}
    return replace(decoded, document=replace(decoded.document, value={**decoded.document.value, "args": args}))
