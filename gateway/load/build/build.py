"""Files → the Blueprint: every name, reference, type and order is checked here, so that nothing later has to.

All problems are gathered. :func:`load` and :func:`build` take a configuration only when there is none; :func:`build_next` follows another build,
makes anew only what has changed, and where something is wrong keeps the last good definition of that unit.
Paper section 11 asks for "strong validation ... before rollout".
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.blueprint import Blueprint
from gateway.errors import ConfigurationError, Place, Problem
from gateway.language.environment import as_written, variables_in
from gateway.load.build.assembly import assemble, fit_together, links_of, widen
from gateway.load.build.makers import UnitBuilder
from gateway.load.build.reading import ReadDocuments
from gateway.load.build.shared import read_shared
from gateway.load.build.unit import BuildContext, CheckedLink, SharedParts, Unit, UnitText
from gateway.load.check.overlay import OverlaidOperations
from gateway.load.read.decode import StepTypes, decode
from gateway.load.read.files import Files, read_files
from gateway.load.types.sdl import SdlTypes, read_types

_BREATH = 0.0002
"""Seconds that a build lets others run after each unit: a thread that computes gives up the interpreter only when another asks for it."""


@dataclass(frozen=True, slots=True)
class BuildMemory:
    """What a build leaves for the next one."""

    files: Mapping[str, str]
    """The texts of the YAML files."""
    index: Mapping[str, Mapping[str, str]]
    """For each file that has sound operations and links alone: the digests of their texts by unit."""
    shared: frozenset[str]
    """The files that have shared parts."""
    sdl: Mapping[str, str] | None
    """The SDL files that the types are of; None where older types stand, or are among them."""
    units: Mapping[str, Unit]
    context: BuildContext

    def is_as(self, other: "BuildMemory") -> bool:
        """Tell whether both builds serve the same: the very same units, on equal types and shared parts."""
        mine, theirs = self.context, other.context
        return (
            self.units.keys() == other.units.keys()
            and all(unit is other.units[key] for key, unit in self.units.items())
            and mine.types.digests == theirs.types.digests
            and mine.shared.content == theirs.shared.content
        )

    def has_use_for(self, types: SdlTypes) -> bool:
        """Tell whether something here still refers to these types: overlays do, to those that their operation was built on."""
        made = (unit.made for unit in self.units.values())
        return self.context.types is types or any(
            isinstance(one, OverlaidOperations) and one.check_context.types is types.schema for one in made
        )


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What came of some files. ``blueprint`` is None where nothing of them can be served: then everything waits.

    ``kept`` are the units that stay as they were, or are left out, as something is wrong with them; with any there are problems.
    """

    blueprint: Blueprint | None
    problems: tuple[Problem, ...]
    kept: tuple[str, ...]
    memory: BuildMemory | None

    def is_as(self, before: "BuildResult") -> bool:
        """Tell whether nothing is served otherwise than before."""
        return self.memory is not None and before.memory is not None and self.memory.is_as(before.memory)


def load(folder: Path, step_types: StepTypes, environment: Mapping[str, str] = os.environ) -> Blueprint:
    """Read a configuration folder.

    :raises ConfigurationError: with all problems of all files.
    """
    return build(read_files(folder), step_types, environment)


def build(files: Files, step_types: StepTypes, environment: Mapping[str, str] = os.environ) -> Blueprint:
    """Build the blueprint of files that were read.

    :raises ConfigurationError: with all problems of all files.
    """
    return whole(build_next(files, step_types, environment=environment))


def whole(built: BuildResult) -> Blueprint:
    """Return the blueprint of a build in which nothing is wrong.

    :raises ConfigurationError: with all problems.
    """
    if built.problems or built.blueprint is None:
        raise ConfigurationError(built.problems)
    return built.blueprint


def build_next(
    files: Files, step_types: StepTypes, before: BuildMemory | None = None, environment: Mapping[str, str] = os.environ
) -> BuildResult:
    """Build what is sound of files, given what an earlier build has left.

    A unit in which something is wrong keeps its earlier definition, with the types that it was built on: types that were removed stay for it,
    and where one of them has changed the whole change waits.
    """
    return _Build(files, step_types, before, environment).run()


class _Build:
    def __init__(self, files: Files, step_types: StepTypes, before: BuildMemory | None, environment: Mapping[str, str]) -> None:
        self.files = files
        self.step_types = step_types
        self.before = before
        self.reading = ReadDocuments(files.problems, step_types, environment)
        self.problems = self.reading.problems
        self.bad = self.reading.bad
        self.yaml = {file: text for file, text in files.texts.items() if not file.endswith(".graphql")}
        self.sdl = {file: text for file, text in files.texts.items() if file.endswith(".graphql")}
        self.made: dict[str, dict[str, str]] = {}
        """The digests of the documents of units, by file and unit."""
        self.variables = variables_in(self.yaml.values(), environment)
        self.has_types = True
        self.are_types_current = True

    def run(self) -> BuildResult:
        skipped = {file: index for file in self.yaml if (index := self._unchanged(file)) is not None}
        for file in [file for file in self.yaml if file not in skipped]:
            self.reading.parse(file, self.yaml[file])
        context = self._ground()
        units = self._units(context, skipped)
        self._check_composites(units)
        self._check_links(units, context)
        kept = self._keep(units)
        if not self.problems and not any(unit.operation for unit in units.values()):
            place = Place(str(self.files.folder))
            message = "no operation; write a document with 'operation: <name>'"
            self.problems.append(Problem(place, "folder", message, "no-operation"))
        found = _without_consequences(self.problems)
        problems = tuple(sorted(replace(problem, message=as_written(problem.message, self.variables)) for problem in found))
        widened = widen(units, context, self.before.context) if kept and self.before else context
        if widened is None or not any(unit.operation for unit in units.values()) or not fit_together(units, widened):
            return BuildResult(None, problems, kept, self.before)
        sdl = self.sdl if self.are_types_current and widened.types is context.types else None
        memory = BuildMemory(self.yaml, self._index(skipped), self._files_with_shared(), sdl, units, widened)
        blueprint = replace(assemble(self.files, units, widened, is_whole=not problems), variables=self.variables)
        return BuildResult(blueprint, problems, kept, memory)

    def _unchanged(self, file: str) -> Mapping[str, str] | None:
        """Return the index of a file of operations and links that is as it was before."""
        if self.before is None or self.before.files.get(file) != self.yaml[file]:
            return None
        return self.before.index.get(file)

    # -- what units stand on

    def _ground(self) -> BuildContext:
        """Read the types and the shared parts; where something is wrong with them those of before stand, if there are any."""
        decoded = decode(self.reading.shared, self.step_types)
        earlier = self.before.context.shared if self.before else None
        shared, wrong = read_shared(decoded, self.step_types, str(self.files.folder), earlier)
        self.problems += wrong
        if self.before and earlier and (wrong or self.before.shared & self.reading.broken):
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
        types, wrong = read_types(self.sdl, shared.python_types, shared.python_place)
        self.problems += wrong
        if before and (wrong or any(file.endswith(".graphql") for file in self.reading.broken)):
            self.are_types_current = False
            return before.context.types
        self.has_types = types is not None
        empty, _ = read_types({})
        assert empty is not None
        return types or empty

    # -- units

    def _units(self, context: BuildContext, skipped: dict[str, Mapping[str, str]]) -> dict[str, Unit]:
        """Take over or make every unit, in the order of the files; those in which something is wrong are left out, and bad."""
        self.bad.update(dict.fromkeys(self._with_lost_overlays()))
        makers = UnitBuilder(context, self.reading.layers(), self.step_types, self.variables, has_types=self.has_types)
        parsed = {found.key for founds in self.reading.units.values() for found in founds}
        for file in [file for file, index in skipped.items() if not self._can_be_taken(index, parsed, makers)]:
            del skipped[file]
            self.reading.parse(file, self.yaml[file])
        units: dict[str, Unit] = {}
        seen: dict[str, Place] = {}
        for file in self.yaml:
            for key in skipped.get(file, ()):
                units[key] = self._earlier(key)
            # What is made is let go of: the documents of a large configuration take as much memory as its units.
            founds = self.reading.units.pop(file, ())
            self.made[file] = {found.key: found.digest for found in founds}
            for found in founds:
                unit = self._unit(found, makers, seen)
                if unit is not None:
                    units[found.key] = unit
        makers.check_strays((*seen, *units), self.problems)
        return units

    def _with_lost_overlays(self) -> Iterator[str]:
        """Yield operations an overlay of which stood in a file that is broken now."""
        for key, unit in (self.before.units if self.before else {}).items():
            overlays = unit.made.overlays if isinstance(unit.made, OverlaidOperations) else ()
            if any(overlay.place.file in self.reading.broken for overlay in overlays):
                yield key

    def _earlier(self, key: str) -> Unit:
        assert self.before is not None
        return self.before.units[key]

    def _can_be_taken(self, index: Mapping[str, str], parsed: set[str], makers: UnitBuilder) -> bool:
        """Tell whether all units of a file that is as it was before are as they were."""
        taken = (self.before.units.get(key) if self.before else None for key in index)
        return all(
            unit is not None and key not in parsed and key not in self.bad and makers.is_still(unit, text)
            for unit, (key, text) in zip(taken, index.items(), strict=True)
        )

    def _unit(self, found: UnitText, makers: UnitBuilder, seen: dict[str, Place]) -> Unit | None:
        if found.key in seen:
            self._report_second(found, seen[found.key])
        is_first = found.key not in seen
        seen.setdefault(found.key, found.document.marks.place)
        earlier = self.before.units.get(found.key) if self.before else None
        if earlier and not found.problems and found.key not in self.bad and makers.is_still(earlier, found.digest):
            return earlier
        if self.before is not None:  # requests are being served meanwhile
            time.sleep(_BREATH)
        unit, problems = makers.make(found)
        self.problems += problems
        if unit is None:
            self.bad[found.key] = None
        return unit if is_first else None

    def _report_second(self, found: UnitText, first: Place) -> None:
        kind, _, name = found.key.partition(" ")
        what = "operation of the name" if kind == "operation" else "link for"
        message = f"a second {what} '{name}', first at {first}"
        place = found.document.marks.at((kind,))
        self.problems.append(Problem(place, f"{found.key} · {kind}", message, "duplicate-name"))
        self.bad[found.key] = None

    def _check_composites(self, units: Mapping[str, Unit]) -> None:
        """Report operations that would make the same type, of which the second is bad, and links of such types, which nothing would fill."""
        composites: dict[str, str] = {}
        for key, unit in units.items():
            if unit.operation is None or unit.composite is None:
                continue
            first = composites.setdefault(unit.composite, unit.operation.name)
            if first != unit.operation.name:
                message = f"the operation '{first}' has the type '{unit.composite}' too; set 'type:'"
                self.problems.append(Problem(unit.place, f"{key} · operation", message, "duplicate-type"))
                self.bad[key] = None
        for key, unit in units.items():
            if isinstance(unit.made, CheckedLink) and (owner := unit.made.link.type) in composites:
                message = (
                    f"the fields of '{owner}' are those of the steps of the operation '{composites[owner]}'; add a step to it"
                )
                self.problems.append(Problem(unit.place, f"{key} · field", message, "link-of-operation"))
                self.bad[key] = None

    def _check_links(self, units: Mapping[str, Unit], context: BuildContext) -> None:
        """Report links that do not fit to others; those are bad."""
        problems: list[Problem] = []
        if self.has_types:
            links_of(units.values(), context, problems)
        self.problems += problems
        self.bad.update(dict.fromkeys(problem.subject.partition(" · ")[0] for problem in problems))

    def _keep(self, units: dict[str, Unit]) -> tuple[str, ...]:
        """Put what was there before in the place of what is bad or lost; what was not is left out. Return the keys of both."""
        earlier = self.before.units if self.before else {}
        lost = [key for key, unit in earlier.items() if unit.file in self.reading.broken and key not in units]
        keys = tuple(dict.fromkeys((*self.bad, *lost)))
        for key in keys:
            units.pop(key, None)
            if key in earlier:
                units[key] = earlier[key]
        return keys

    def _index(self, skipped: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
        reading = self.reading
        others = {document.marks.place.file for document in reading.shared} | reading.broken
        others |= {found.document.marks.place.file for found, _ in reading.overlays}
        return {**skipped, **{file: index for file, index in self.made.items() if index and file not in others}}


def _without_consequences(problems: list[Problem]) -> list[Problem]:
    """Leave out what is wrong with a value only because its environment variable is not set."""
    unset = {problem.place for problem in problems if problem.code == "missing-environment"}
    return [problem for problem in problems if problem.code == "missing-environment" or problem.place not in unset]
