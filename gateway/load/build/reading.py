"""Texts of YAML files → their documents by kind, each that can be a unit with its own problems.

What is wrong in a document that names its operation or link is that unit's own; for anything else its file is to blame.
"""

from collections.abc import Iterable, Mapping

from gateway.errors import Problem
from gateway.load.build.unit import UnitText, digest
from gateway.load.read.decode import DecodedOverlay, StepTypes, decode
from gateway.load.read.yaml_source import YamlDocument, read_documents
from gateway.settings import kind_of

_ENDS_FILE = {"yaml-syntax", "yaml-alias", "too-deep", "scalar-too-large", "file-too-large"}
"""The codes of problems behind which a file is not read on."""
Layers = Mapping[str, list[tuple[UnitText, DecodedOverlay]]]
"""Overlays by the unit that they change, in the order in which they apply."""


class ReadDocuments:
    """The documents of the files that were parsed, and all problems so far."""

    def __init__(self, problems: Iterable[Problem], step_types: StepTypes, environment: Mapping[str, str]) -> None:
        self.step_types = step_types
        self.environment = environment
        self.problems = list(problems)
        self.shared: list[YamlDocument] = []
        self.overlays: list[tuple[UnitText, DecodedOverlay]] = []
        self.units: dict[str, list[UnitText]] = {}
        """By file."""
        self.broken = {problem.place.file for problem in self.problems}
        """Files with a problem that no unit can answer for: what they had before may still be meant."""
        self.bad: dict[str, None] = {}
        """The units in which something is wrong."""

    def parse(self, file: str, text: str) -> None:
        """Parse a file; of one that cannot be read to its end nothing is a unit."""
        documents, problems = read_documents(file, text, self.environment)
        is_whole = all(problem.code not in _ENDS_FILE for problem in problems)
        if not is_whole or not documents:
            self._blame(file, problems)
        starts = [document.marks.place.line for document in documents]
        lines = text.splitlines(keepends=True)
        for position, document in enumerate(documents):
            first = starts[position]
            end = starts[position + 1] if position + 1 < len(starts) else len(lines) + 1
            begin = 0 if position == 0 else first
            own = [problem for problem in problems if begin <= problem.place.line < end] if is_whole else []
            self._sort(file, document, "".join(lines[first - 1 : end - 1]), own)

    def _sort(self, file: str, document: YamlDocument, text: str, problems: list[Problem]) -> None:
        """Put a document where its kind belongs."""
        known = kind_of(document.value)
        kind = known.key if known else ""
        name = document.value.get(kind)
        key = f"{kind} {name}" if isinstance(name, str) else ""
        found = UnitText(key, document, text, digest(str(document.marks.place), text), problems)
        if kind in {"operation", "field"} and found.key:
            self.units.setdefault(file, []).append(found)
        elif kind == "overlay":
            self._sort_overlay(found)
        elif kind not in {"", "operation", "field"}:
            self.shared.append(document)
            self._blame(file, problems)
        else:
            self._blame(file, [*problems, *decode([document], self.step_types).problems])

    def _sort_overlay(self, found: UnitText) -> None:
        decoded = decode([found.document], self.step_types)
        operation = found.document.value.get("operation")
        self.problems += [*found.problems, *decoded.problems]
        if found.problems or decoded.problems:
            self.bad[f"operation {operation}"] = None
        self.overlays += [(found, overlay) for overlay in decoded.overlays]

    def _blame(self, file: str, problems: Iterable[Problem]) -> None:
        """Report problems that are no unit's own."""
        own = list(problems)
        self.problems += own
        if own:
            self.broken.add(file)

    def layers(self) -> Layers:
        """Return the overlays by unit."""
        layers: dict[str, list[tuple[UnitText, DecodedOverlay]]] = {}
        for found, overlay in self.overlays:
            layers.setdefault(f"operation {overlay.overlay.keys.operation}", []).append((found, overlay))
        return layers
