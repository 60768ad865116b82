"""YAML documents → models of their keys. Every wrong key, name and type is a problem with its place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic

from gateway.contract import KeyProblem, StepType
from gateway.errors import Place, Problem, did_you_mean
from gateway.load.read.yaml_source import SourceMap, YamlDocument
from gateway.settings import (
    DOCUMENT_KINDS,
    DocumentKind,
    KeysT,
    LinkKeys,
    OperationKeys,
    OverlayKeys,
    SharedKeys,
    SourceKeys,
    StepKeys,
    kind_of,
    validate,
)
from gateway.settings.words import explain_mismatch

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Decoded(Generic[KeysT]):
    """A model, its name in messages (``operation customer``), and the places of its mapping."""

    keys: KeysT
    subject: str
    marks: SourceMap

    def problem(self, path: Path, message: str, code: str, *, is_about_key: bool = False) -> Problem:
        """Return a problem of the value, or of the key, under a path of YAML keys."""
        key = next((str(part) for part in path if isinstance(part, str)), None)
        return Problem(
            self.marks.at(path, is_key=is_about_key),
            f"{self.subject} · {key}" if key else self.subject,
            message,
            code,
        )

    def from_key_problem(self, mistake: KeyProblem) -> Problem:
        """Return a mistake that a step type has found as a problem with its place."""
        return self.problem(mistake.path, mistake.message, mistake.code, is_about_key=mistake.is_about_key)

    @property
    def place(self) -> Place:
        """Where the mapping begins."""
        return self.marks.place


@dataclass(frozen=True, slots=True)
class DecodedOperation:
    """An operation document. ``steps`` are those that could be decoded, ``step_names`` the names of all.

    ``overlay_fields`` are the names of the fields that overlays fill, so that the operation itself need not.
    """

    operation: Decoded[OperationKeys]
    steps: tuple[Decoded[StepKeys], ...]
    step_names: frozenset[str]
    document: YamlDocument
    overlay_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DecodedLink:
    """A link document and its step."""

    link: Decoded[LinkKeys]
    step: Decoded[StepKeys]


@dataclass(frozen=True, slots=True)
class DecodedOverlay:
    """An overlay, and the valid keys of its document: their values are decoded later, as part of the effective operation."""

    overlay: Decoded[OverlayKeys]
    document: YamlDocument


@dataclass(frozen=True, slots=True)
class DecodedDocuments:
    """Documents by kind, and the problems that were found while decoding them.

    Operations and links are only checked here. They are decoded again when their units are built.
    """

    overlays: list[DecodedOverlay] = field(default_factory=list)
    sources: dict[str, Decoded[SourceKeys]] = field(default_factory=dict)
    source_names: set[str] = field(default_factory=set)
    classes: list[tuple[str, Place]] = field(default_factory=list)
    """The Python classes whose GraphQL types are to be added, with their places."""
    defaults: dict[str, tuple[str, Problem]] = field(default_factory=dict)
    """Step types to source names, each with the problem to report if there is no such source."""
    of_kind: dict[str, list[Decoded[Any]]] = field(default_factory=dict)
    """The documents of every other kind, by its key."""
    problems: list[Problem] = field(default_factory=list)


StepTypes = Mapping[str, StepType]


def decode(documents: list[YamlDocument], step_types: StepTypes) -> DecodedDocuments:
    """Decode documents in order. Invalid parts are left out of the result; the reasons are in its ``problems``."""
    result = DecodedDocuments()
    for document in documents:
        kind = kind_of(document.value)
        if kind is None:
            result.problems.append(_unknown_kind(document))
        elif kind.key in _DECODERS:
            _DECODERS[kind.key](document, step_types, result)
        else:
            _decode_simple(kind, document, result)
    return result


def _decode_simple(kind: DocumentKind, document: YamlDocument, result: DecodedDocuments) -> None:
    """Decode a document that one model describes completely."""
    subject = _subject(kind.key, document) if kind.is_named else kind.key
    decoded = _decode(kind.model, document.value, subject, document.marks, result.problems)
    if decoded is not None:
        result.of_kind.setdefault(kind.key, []).append(decoded)


def _unknown_kind(document: YamlDocument) -> Problem:
    known = [key for kind in DOCUMENT_KINDS for key in kind.keys]
    hints = (did_you_mean(key, known) for key in document.value)
    hint = next((hint for hint in hints if hint), f"; it has one of the keys {', '.join(known)}")
    return Problem(document.marks.place, "document", f"unknown kind of document{hint}", "unknown-document")


def decode_document(model: type[KeysT], document: YamlDocument, kind: str, problems: list[Problem]) -> Decoded[KeysT] | None:
    """Decode a document of a known kind; mistakes are added to ``problems``."""
    return _decode(model, document.value, _subject(kind, document), document.marks, problems)


def _decode_overlay(document: YamlDocument, result: DecodedDocuments) -> None:
    subject = _subject("overlay", document)
    overlay = _decode(OverlayKeys, document.value, subject, document.marks, result.problems)
    if overlay is not None:
        readable = {key: value for key, value in document.value.items() if key in overlay.keys.model_fields_set}
        result.overlays.append(DecodedOverlay(overlay, replace(document, value=readable)))


def decode_operation(
    document: YamlDocument, step_types: StepTypes, problems: list[Problem], subject: str = ""
) -> DecodedOperation | None:
    """Decode an operation document and its steps. ``subject`` is its name in messages, if not ``operation <name>``."""
    subject = subject or _subject("operation", document)
    operation = _decode(OperationKeys, document.value, subject, document.marks, problems)
    steps, names, models = [], set(), _step_models(step_types)
    raw_steps = document.value.get("steps")
    for index, raw in enumerate(raw_steps if isinstance(raw_steps, list) else []):
        if not isinstance(raw, dict):
            continue
        names.add(str(raw.get("name")))
        marks = document.marks.part("steps").part(index)
        step_subject = f"{subject} · step {str(raw.get('name', index + 1))[:80]}"
        model = _model_of(raw, models, step_subject, marks, problems)
        step = _decode(model, raw, step_subject, marks, problems) if model else None
        if step is not None:
            steps.append(step)
    return DecodedOperation(operation, tuple(steps), frozenset(names), document) if operation else None


def decode_link(document: YamlDocument, step_types: StepTypes, problems: list[Problem]) -> DecodedLink | None:
    """Decode a link document and its step."""
    subject = _subject("field", document)
    link = _decode(LinkKeys, document.value, subject, document.marks, problems)
    raw = document.value.get("step")
    if link is None or not isinstance(raw, dict):
        return None
    marks = document.marks.part("step")
    subject = f"{subject} · step"
    model = _model_of(raw, _step_models(step_types), subject, marks, problems)
    # The step of a link needs no name: it is named after the field.
    named = {**raw, "name": link.keys.field.partition(".")[2]} if "name" not in raw else raw
    step = _decode(model, named, subject, marks, problems) if model else None
    return DecodedLink(link, step) if step is not None else None


def _step_models(step_types: StepTypes) -> dict[str, type[StepKeys]]:
    return {name: step_type.keys for name, step_type in step_types.items()}


def _subject(kind: str, document: YamlDocument) -> str:
    name = document.value.get(kind)
    return f"{kind} {name[:80]}" if isinstance(name, str) else kind


def _decode_shared(document: YamlDocument, step_types: StepTypes, result: DecodedDocuments) -> None:
    shared = _decode(SharedKeys, document.value, "document", document.marks, result.problems)
    if shared is None:
        return
    models = {name: step_type.source_keys for name, step_type in step_types.items() if step_type.source_keys}
    for name, raw in shared.keys.sources.items():
        subject = f"source {name}"
        marks = document.marks.part("sources").part(name)
        if name in result.source_names:
            place = document.marks.at(("sources", name), is_key=True)
            result.problems.append(Problem(place, subject, f"a second source of the name '{name}'", "duplicate-name"))
            continue
        result.source_names.add(name)
        model = _model_of(raw, models, subject, marks, result.problems)
        source = _decode(model, raw, subject, marks, result.problems) if model else None
        if source is not None:
            result.sources[name] = source
    result.classes.extend((path, shared.marks.at(("types", index))) for index, path in enumerate(shared.keys.types))
    for step_type, source_name in shared.keys.defaults.items():
        _decode_default(shared, step_type, source_name, list(models), result)


def _decode_default(shared: Decoded[SharedKeys], step_type: str, source: str, known: list[str], result: DecodedDocuments) -> None:
    def problem(message: str, code: str, *, is_about_key: bool) -> Problem:
        place = shared.marks.at(("defaults", step_type), is_key=is_about_key)
        return Problem(place, "defaults", message, code)

    if step_type not in known:
        message = f"no step type '{step_type}' calls a source{did_you_mean(step_type, known)}"
        result.problems.append(problem(message, "unknown-step-type", is_about_key=True))
    elif step_type in result.defaults:
        result.problems.append(problem(f"a second default for '{step_type}'", "duplicate-name", is_about_key=True))
    else:
        unknown = problem(f"unknown source '{source}'", "unknown-source", is_about_key=False)
        result.defaults[step_type] = (source, unknown)


_DECODERS: Mapping[str, Callable[[YamlDocument, StepTypes, DecodedDocuments], object]] = {
    "operation": lambda document, step_types, result: decode_operation(document, step_types, result.problems),
    "field": lambda document, step_types, result: decode_link(document, step_types, result.problems),
    "overlay": lambda document, _, result: _decode_overlay(document, result),
    "sources": _decode_shared,
}
"""Decoders of kinds whose documents have parts with models of their own."""


def _model_of(
    raw: Mapping[str, object],
    models: Mapping[str, type[KeysT]],
    subject: str,
    marks: SourceMap,
    problems: list[Problem],
) -> type[KeysT] | None:
    """Return the model for the ``type`` of a mapping; None, with a problem, where there is none."""
    name = raw.get("type")
    if isinstance(name, str) and name in models:
        return models[name]
    place = marks.at(("type",))
    misspelt = next((key for key in raw if did_you_mean(key, ["type"])), None) if "type" not in raw else None
    if misspelt is not None:
        message = f"unknown key '{misspelt[:80]}'; did you mean 'type'?"
        problems.append(Problem(marks.at((misspelt,), is_key=True), f"{subject} · {misspelt[:80]}", message, "unknown-key"))
    elif "type" not in raw:
        problems.append(Problem(place, subject, f"the key 'type' is missing; one of {', '.join(models)}", "missing-key"))
    else:
        if isinstance(name, str):
            hint = did_you_mean(name, models) or f"; one of {', '.join(models)}"
            message = f"unknown type '{name[:80]}'{hint}"
        else:
            message = explain_mismatch({"enum": list(models)}, name, {})
        problems.append(Problem(place, f"{subject} · type", message, "unknown-step-type"))
    return None


def _decode(
    model: type[KeysT], raw: Mapping[str, object], subject: str, marks: SourceMap, problems: list[Problem]
) -> Decoded[KeysT] | None:
    """Decode a mapping. Wrong keys are reported and then left out, so that the rest is still checked."""
    keys = validate(model, raw)
    if isinstance(keys, list):
        for mistake in keys:
            key = next((str(part) for part in mistake.path if isinstance(part, str)), None)
            place = marks.at(mistake.path, is_key=mistake.is_about_key)
            problems.append(Problem(place, f"{subject} · {key}" if key else subject, mistake.message, mistake.code))
        wrong_keys = {mistake.path[0] for mistake in keys if mistake.path}
        keys = validate(model, {key: value for key, value in raw.items() if key not in wrong_keys})
    return None if isinstance(keys, list) else Decoded(keys, subject, marks)
