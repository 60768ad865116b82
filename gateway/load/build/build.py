"""Files → the Blueprint. All names, references, types and orders are checked here, so that later stages need not.

All problems are collected. :func:`load` and :func:`build` accept a configuration only without problems. :func:`build_next` follows an earlier
build: it rebuilds only what has changed, and keeps the last good definition of each unit that has a problem.
Paper section 11 asks for "strong validation ... before rollout".
"""

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.blueprint import Blueprint
from gateway.errors import ConfigurationError, Place, Problem
from gateway.language.environment import restore_references, variables_in
from gateway.load.build.assembly import are_compatible, assemble, extend_context, links_of
from gateway.load.build.makers import UnitBuilder, kept_overlay
from gateway.load.build.reading import Layers, ReadDocuments
from gateway.load.build.shared import read_shared
from gateway.load.build.unit import BuildContext, CheckedLink, SharedParts, Unit, UnitText
from gateway.load.check.overlay import OverlaidOperations
from gateway.load.read.decode import StepTypes, decode
from gateway.load.read.files import Files, read_files
from gateway.load.types.sdl import SdlTypes, read_types

_PAUSE = 0.0002
"""Seconds that a build sleeps after each unit so that requests can run: a computing thread releases the interpreter only when another asks for it."""


@dataclass(frozen=True, slots=True)
class BuildMemory:
    """What the next build needs of this one."""

    files: Mapping[str, str]
    """The texts of the YAML files."""
    index: Mapping[str, Mapping[str, str]]
    """For each file with nothing but valid operations and links: the digests of their texts by unit."""
    shared: frozenset[str]
    """The files with shared parts."""
    sdl: Mapping[str, str] | None
    """The SDL files from which the types were read; None where older types are used, or were added."""
    units: Mapping[str, Unit]
    context: BuildContext

    def serves_same_as(self, other: "BuildMemory") -> bool:
        """Tell whether both builds serve requests in the same way: the same unit objects, with equal types and shared parts."""
        mine, theirs = self.context, other.context
        return (
            self.units.keys() == other.units.keys()
            and all(unit is other.units[key] for key, unit in self.units.items())
            and mine.types.digests == theirs.types.digests
            and mine.shared.content == theirs.shared.content
        )

    def refers_to(self, types: SdlTypes) -> bool:
        """Tell whether anything here still refers to these types: overlays refer to the types with which their operation was built."""
        compiled = (unit.compiled for unit in self.units.values())
        return self.context.types is types or any(
            isinstance(one, OverlaidOperations) and one.check_context.types is types.schema for one in compiled
        )


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The result of building files. ``blueprint`` is None if nothing of them can be served: then the earlier blueprint stays in use.

    ``kept`` are the units and overlays (``overlay <name> of operation <name>``) that keep their earlier definition, or are left out, because of
    a problem.
    """

    blueprint: Blueprint | None
    problems: tuple[Problem, ...]
    kept: tuple[str, ...]
    memory: BuildMemory | None

    def serves_same_as(self, before: "BuildResult") -> bool:
        """Tell whether requests are served in the same way as before."""
        return self.memory is not None and before.memory is not None and self.memory.serves_same_as(before.memory)


def load(folder: Path, step_types: StepTypes, environment: Mapping[str, str] = os.environ) -> Blueprint:
    """Read a configuration folder.

    :raises ConfigurationError: with all problems of all files.
    """
    return build(read_files(folder), step_types, environment)


def build(files: Files, step_types: StepTypes, environment: Mapping[str, str] = os.environ) -> Blueprint:
    """Build the blueprint of files.

    :raises ConfigurationError: with all problems of all files.
    """
    return require_blueprint(build_next(files, step_types, environment=environment))


def require_blueprint(built: BuildResult) -> Blueprint:
    """Return the blueprint of a build without problems.

    :raises ConfigurationError: with all problems.
    """
    if built.problems or built.blueprint is None:
        raise ConfigurationError(built.problems)
    return built.blueprint


def build_next(
    files: Files, step_types: StepTypes, before: BuildMemory | None = None, environment: Mapping[str, str] = os.environ
) -> BuildResult:
    """Build the valid parts of files, given the memory of an earlier build.

    A unit with a problem keeps its earlier definition and the types with which it was built. Types that were removed are kept for it. If one of
    these types has changed, nothing of the change is applied.
    """
    return _Build(files, step_types, before, environment).run()


class _Build:
    def __init__(self, files: Files, step_types: StepTypes, before: BuildMemory | None, environment: Mapping[str, str]) -> None:
        self.files = files
        self.step_types = step_types
        self.before = before
        self.reading = ReadDocuments(files.problems, step_types, environment)
        self.problems = self.reading.problems
        self.invalid = self.reading.invalid
        self.yaml = {file: text for file, text in files.texts.items() if not file.endswith(".graphql")}
        self.sdl = {file: text for file, text in files.texts.items() if file.endswith(".graphql")}
        self.digests: dict[str, dict[str, str]] = {}
        """The digests of the documents that are units, by file and unit."""
        self.variables = variables_in(self.yaml.values(), environment)
        self.kept_overlays: list[str] = []
        """Overlays with a problem, as ``kept`` has them."""
        self.has_types = True
        self.are_types_current = True

    def run(self) -> BuildResult:
        skipped = {file: index for file in self.yaml if (index := self._unchanged(file)) is not None}
        for file in [file for file in self.yaml if file not in skipped]:
            self.reading.parse(file, self.yaml[file])
        context = self._context()
        units = self._units(context, skipped)
        self._check_composites(units)
        self._check_links(units, context)
        kept = self._keep(units)
        if not self.problems and not any(unit.operation for unit in units.values()):
            place = Place(str(self.files.folder))
            message = "no operation; write a document with 'operation: <name>'"
            self.problems.append(Problem(place, "folder", message, "no-operation"))
        causes = _without_consequences(self.problems)
        # Values of environment variables may be secrets, so messages show the references instead.
        problems = tuple(
            sorted(replace(problem, message=restore_references(problem.message, self.variables)) for problem in causes)
        )
        extended = extend_context(units, context, self.before.context) if kept and self.before else context
        # Kept units come from an older configuration, so they may conflict with new ones even though each of both is valid.
        if extended is None or not any(unit.operation for unit in units.values()) or not are_compatible(units, extended):
            return BuildResult(None, problems, kept, self.before)
        sdl = self.sdl if self.are_types_current and extended.types is context.types else None
        memory = BuildMemory(self.yaml, self._index(skipped), self._files_with_shared(), sdl, units, extended)
        blueprint = replace(assemble(self.files, units, extended, is_whole=not problems), variables=self.variables)
        return BuildResult(blueprint, problems, kept, memory)

    def _unchanged(self, file: str) -> Mapping[str, str] | None:
        """Return the index of a file with only operations and links whose text has not changed; None for any other file."""
        if self.before is None or self.before.files.get(file) != self.yaml[file]:
            return None
        return self.before.index.get(file)

    # -- what units depend on

    def _context(self) -> BuildContext:
        """Read the types and the shared parts. Where they have problems those of the earlier build are used, if there is one."""
        decoded = decode(self.reading.shared, self.step_types)
        earlier = self.before.context.shared if self.before else None
        shared, problems = read_shared(decoded, self.step_types, str(self.files.folder), earlier)
        self.problems += problems
        if self.before and earlier and (problems or self.before.shared & self.reading.broken):
            shared = earlier
        return BuildContext(self._types(shared), shared, shared.digest)

    def _files_with_shared(self) -> frozenset[str]:
        now = {document.marks.place.file for document in self.reading.shared}
        return frozenset(now).union(self.before.shared & self.reading.broken if self.before else ())

    def _types(self, shared: SharedParts) -> SdlTypes:
        before = self.before
        if (
            before
            and before.sdl is not None
            and before.sdl == self.sdl
            and before.context.shared.python_types == shared.python_types
        ):
            return before.context.types
        types, problems = read_types(self.sdl, shared.python_types, shared.python_place)
        self.problems += problems
        if before and (problems or any(file.endswith(".graphql") for file in self.reading.broken)):
            self.are_types_current = False
            return before.context.types
        self.has_types = types is not None
        empty, _ = read_types({})
        assert empty is not None
        return types or empty

    # -- units

    def _units(self, context: BuildContext, skipped: dict[str, Mapping[str, str]]) -> dict[str, Unit]:
        """Take over or build every unit, in the order of the files. Units with a problem are left out and marked invalid."""
        parsed = {unit_text.key for unit_texts in self.reading.units.values() for unit_text in unit_texts}
        layers = self._layers(parsed.union(*skipped.values()))
        builder = UnitBuilder(context, layers, self.step_types, self.variables, has_types=self.has_types)
        for file in [file for file, index in skipped.items() if not self._can_be_taken(index, parsed, builder)]:
            # The text is the same, but not all that its units depend on, such as a type or a source.
            del skipped[file]
            self.reading.parse(file, self.yaml[file])
        units: dict[str, Unit] = {}
        seen: dict[str, Place] = {}
        for file in self.yaml:
            for key in skipped.get(file, ()):
                units[key] = self._earlier(key)
            # Popped, to free the documents: those of a large configuration take as much memory as its units.
            unit_texts = self.reading.units.pop(file, ())
            self.digests[file] = {unit_text.key: unit_text.digest for unit_text in unit_texts}
            for unit_text in unit_texts:
                unit = self._unit(unit_text, builder, seen)
                if unit is not None:
                    units[unit_text.key] = unit
        builder.check_orphans((*seen, *units), self.problems)
        return units

    def _layers(self, keys: Collection[str]) -> Layers:
        """Return the overlays by unit, with the last good version of those that are broken now; ``keys`` are those of all units."""
        layers = dict(self.reading.layers())
        files = {file: position for position, file in enumerate(self.yaml)}
        earlier = self.before.units if self.before else {}
        # Without an earlier definition an operation is left out with its overlay: nobody may get what the overlay would have changed.
        self.invalid.update(dict.fromkeys(key for key in self.reading.broken_overlays if key not in earlier))
        for key, unit in earlier.items():
            lost = self.reading.lost_layers(unit.layers, keys)
            if lost:
                self.kept_overlays += [kept_overlay(layer) for layer in lost]
                places = [(layer, layer[1].overlay.place) for layer in (*layers.get(key, ()), *lost)]
                places.sort(key=lambda pair: (files.get(pair[1].file, 0), pair[1].line))
                layers[key] = [layer for layer, _ in places]
        return layers

    def _earlier(self, key: str) -> Unit:
        assert self.before is not None
        return self.before.units[key]

    def _can_be_taken(self, index: Mapping[str, str], parsed: set[str], builder: UnitBuilder) -> bool:
        """Tell whether all units of a file with an unchanged text are unchanged too."""
        earlier = (self.before.units.get(key) if self.before else None for key in index)
        return all(
            unit is not None and key not in parsed and key not in self.invalid and builder.is_unchanged(unit, text)
            for unit, (key, text) in zip(earlier, index.items(), strict=True)
        )

    def _unit(self, unit_text: UnitText, builder: UnitBuilder, seen: dict[str, Place]) -> Unit | None:
        if unit_text.key in seen:
            self._report_second(unit_text, seen[unit_text.key])
        is_first = unit_text.key not in seen
        seen.setdefault(unit_text.key, unit_text.document.marks.place)
        earlier = self.before.units.get(unit_text.key) if self.before else None
        if (
            earlier
            and not unit_text.problems
            and unit_text.key not in self.invalid
            and builder.is_unchanged(earlier, unit_text.digest)
        ):
            return earlier
        if self.before is not None:  # after the first build requests are being served in the meantime
            time.sleep(_PAUSE)
        unit, problems, kept_overlays = builder.build(unit_text, earlier)
        self.problems += problems
        self.kept_overlays += kept_overlays
        if unit is None:
            self.invalid[unit_text.key] = None
        return unit if is_first else None

    def _report_second(self, unit_text: UnitText, first: Place) -> None:
        kind, _, name = unit_text.key.partition(" ")
        what = "operation of the name" if kind == "operation" else "link for"
        message = f"a second {what} '{name}', first at {first}"
        place = unit_text.document.marks.at((kind,))
        self.problems.append(Problem(place, f"{unit_text.key} · {kind}", message, "duplicate-name"))
        self.invalid[unit_text.key] = None

    def _check_composites(self, units: Mapping[str, Unit]) -> None:
        """Report operations that define the type of an earlier one, and links of the type of an operation. These units are invalid."""
        composites: dict[str, str] = {}
        for key, unit in units.items():
            if unit.operation is None or unit.composite is None:
                continue
            first = composites.setdefault(unit.composite, unit.operation.name)
            if first != unit.operation.name:
                message = f"the operation '{first}' has the type '{unit.composite}' too; set 'type:'"
                self.problems.append(Problem(unit.place, f"{key} · operation", message, "duplicate-type"))
                self.invalid[key] = None
        for key, unit in units.items():
            if isinstance(unit.compiled, CheckedLink) and (owner := unit.compiled.link.type) in composites:
                message = (
                    f"the fields of '{owner}' are those of the steps of the operation '{composites[owner]}'; add a step to it"
                )
                self.problems.append(Problem(unit.place, f"{key} · field", message, "link-of-operation"))
                self.invalid[key] = None

    def _check_links(self, units: Mapping[str, Unit], context: BuildContext) -> None:
        """Report links that conflict with others, and mark them invalid."""
        problems: list[Problem] = []
        if self.has_types:
            links_of(units.values(), context, problems)
        self.problems += problems
        self.invalid.update(dict.fromkeys(problem.subject.partition(" · ")[0] for problem in problems))

    def _keep(self, units: dict[str, Unit]) -> tuple[str, ...]:
        """Replace invalid and lost units by their earlier definitions. Those without one are left out. Return the keys of all these units."""
        earlier = self.before.units if self.before else {}
        lost = [key for key, unit in earlier.items() if unit.file in self.reading.broken and key not in units]
        keys = tuple(dict.fromkeys((*self.invalid, *lost)))
        for key in keys:
            units.pop(key, None)
            if key in earlier:
                units[key] = earlier[key]
        return (*keys, *dict.fromkeys(self.kept_overlays))

    def _index(self, skipped: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
        reading = self.reading
        others = {document.marks.place.file for document in reading.shared} | reading.broken
        others |= {unit_text.document.marks.place.file for unit_text, _ in reading.overlays}
        return {**skipped, **{file: index for file, index in self.digests.items() if index and file not in others}}


def _without_consequences(problems: list[Problem]) -> list[Problem]:
    """Leave out problems with a value whose environment variable is not set: they are consequences of that."""
    unset = {problem.place for problem in problems if problem.code == "missing-environment"}
    return [problem for problem in problems if problem.code == "missing-environment" or problem.place not in unset]
