"""Models and types → the Blueprint: every name, reference, type and order is checked here, so that nothing later has to.

All problems are gathered before any is raised. Paper section 11 asks for "strong validation ... before rollout".
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.blueprint import Blueprint, Link, Operation, Source
from gateway.config.decode import Documents, StepTypes, decode
from gateway.config.draft import Surroundings
from gateway.config.link import build_link
from gateway.config.operation import build_operation
from gateway.config.python_types import read_python_types
from gateway.config.references import placed_references, read_templates, request_mistake
from gateway.config.sdl import declared_types, read_types
from gateway.config.source import Files, YamlDocument, read_documents, read_files
from gateway.errors import ConfigurationError, Place, Problem, nearest


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
    texts = {file: text for file, text in files.texts.items() if file.endswith(".graphql")}
    types, wrong = read_types(texts, python_types, decoded.classes[0][1] if decoded.classes else None)
    problems += wrong
    sources, templates = _sources(decoded, step_types, str(files.folder), problems)
    around = Surroundings(sources, templates, frozenset(decoded.source_names), _defaults(decoded, problems), step_types, types)
    operations = _operations(decoded, around, problems)
    links = _links(decoded, around, problems)
    if not problems and not operations:
        place = Place(str(files.folder))
        problems.append(Problem(place, "folder", "no operation; write a document with 'operation: <name>'", "no-operation"))
    if problems or types is None:
        raise ConfigurationError(problems)
    return Blueprint(files.version, sources, operations, links, declared_types(types))


def _sources(
    decoded: Documents, step_types: StepTypes, folder: str, problems: list[Problem]
) -> tuple[dict[str, Source], dict[str, dict[str, object]]]:
    sources, templates = {}, {}
    for name, found in decoded.sources.items():
        step_type = step_types[found.keys.type]
        sources[name] = Source(name, found.keys, folder)
        templates[name] = read_templates(found, step_type.source_templated, problems)
        for placed in placed_references(found, templates[name]):
            if placed.reference.root != "request":
                message = f"'{placed.reference}' is not known to a source, only 'request' is"
                problems.append(found.problem(placed.path, message, "unknown-reference"))
            elif mistake := request_mistake(placed.reference.path):
                problems.append(found.problem(placed.path, *mistake))
        problems += [found.problem((wrong.key,), wrong.message, wrong.code) for wrong in step_type.check_source(found.keys)]
    return sources, templates


def _defaults(decoded: Documents, problems: list[Problem]) -> dict[str, str]:
    defaults = {}
    for step_type, (name, unknown) in decoded.defaults.items():
        if name in decoded.source_names:
            defaults[step_type] = name
        else:
            problems.append(replace(unknown, message=unknown.message + nearest(name, decoded.source_names)))
    return defaults


def _links(decoded: Documents, around: Surroundings, problems: list[Problem]) -> dict[tuple[str, str], Link]:
    links: dict[tuple[str, str], Link] = {}
    seen: dict[str, Place] = {}
    for found in decoded.links:
        name = found.link.keys.field
        if name in seen:
            message = f"a second link for '{name}', first at {seen[name]}"
            problems.append(found.link.problem(("field",), message, "duplicate-name"))
        seen.setdefault(name, found.link.place)
        link = build_link(found, around, problems)
        if link is not None:
            links[link.type, link.field] = link
    return links


def _operations(decoded: Documents, around: Surroundings, problems: list[Problem]) -> dict[str, Operation]:
    operations: dict[str, Operation] = {}
    seen: dict[str, Place] = {}
    composites: dict[str, str] = {}
    for found in decoded.operations:
        name = found.operation.keys.operation
        if name in seen:
            message = f"a second operation of the name '{name}', first at {seen[name]}"
            problems.append(found.operation.problem(("operation",), message, "duplicate-name"))
        seen.setdefault(name, found.operation.place)
        operation = build_operation(found, around, problems)
        if operation is None:
            continue
        if operation.picked is None:
            if operation.returns in composites:
                message = f"the operation '{composites[operation.returns]}' has the type '{operation.returns}' too; set 'type:'"
                problems.append(found.operation.problem(("operation",), message, "duplicate-type"))
            composites.setdefault(operation.returns, name)
        operations.setdefault(name, operation)
    return operations
