"""Texts of YAML files → their documents by kind. Documents that may become units have their own problems.

A problem inside a document that names its operation or link belongs to that unit. Any other problem belongs to its file.
"""

from collections.abc import Collection, Iterable, Mapping

from gateway.errors import Problem
from gateway.load.build.unit import Layer, UnitText, digest
from gateway.load.read.decode import DecodedOverlay, StepTypes, decode
from gateway.load.read.yaml_source import YamlDocument, read_documents
from gateway.settings import kind_of

_ENDS_FILE = {"yaml-syntax", "yaml-alias", "too-deep", "scalar-too-large", "file-too-large"}
"""The codes of problems after which the rest of a file is not read."""
Layers = Mapping[str, list[Layer]]
"""Overlays by the key of the unit that they change, in the order in which they apply."""


class ReadDocuments:
    """The documents of the parsed files, and all problems so far."""

    def __init__(self, problems: Iterable[Problem], step_types: StepTypes, environment: Mapping[str, str]) -> None:
        self.step_types = step_types
        self.environment = environment
        self.problems = list(problems)
        self.shared: list[YamlDocument] = []
        self.overlays: list[Layer] = []
        self.units: dict[str, list[UnitText]] = {}
        """By file."""
        self.broken = {problem.place.file for problem in self.problems}
        """Files with a problem that belongs to no unit. Units that they had before are kept, because the file may still be meant to have them."""
        self.broken_overlays: dict[str, str] = {}
        """Overlays that cannot be read: the unit that each changes, as far as it tells, → its file. The overlays of that file are kept."""
        self.invalid: dict[str, None] = {}
        """The keys of the units with a problem."""

    def parse(self, file: str, text: str) -> None:
        """Parse a file. If it cannot be read to its end, its problems belong to the file."""
        documents, problems = read_documents(file, text, self.environment)
        is_whole = all(problem.code not in _ENDS_FILE for problem in problems)
        if not is_whole or not documents:
            self._add_file_problems(file, problems)
        # A problem belongs to the document in whose lines it is; those before the first document count as the first's.
        starts = [document.marks.place.line for document in documents]
        lines = text.splitlines(keepends=True)
        for position, document in enumerate(documents):
            first = starts[position]
            end = starts[position + 1] if position + 1 < len(starts) else len(lines) + 1
            begin = 0 if position == 0 else first
            own = [problem for problem in problems if begin <= problem.place.line < end] if is_whole else []
            self._sort(file, document, "".join(lines[first - 1 : end - 1]), own)

    def _sort(self, file: str, document: YamlDocument, text: str, problems: list[Problem]) -> None:
        """Add a document to the units, overlays or shared documents."""
        known = kind_of(document.value)
        kind = known.key if known else ""
        name = document.value.get(kind)
        key = f"{kind} {name}" if isinstance(name, str) else ""
        unit_text = UnitText(key, document, text, digest(str(document.marks.place), text), problems)
        if kind in {"operation", "field"} and unit_text.key:
            self.units.setdefault(file, []).append(unit_text)
        elif kind == "overlay":
            self._sort_overlay(unit_text)
        elif kind not in {"", "operation", "field"}:
            self.shared.append(document)
            self._add_file_problems(file, problems)
        else:
            self._add_file_problems(file, [*problems, *decode([document], self.step_types).problems])

    def _sort_overlay(self, unit_text: UnitText) -> None:
        decoded = decode([unit_text.document], self.step_types)
        self.problems += [*unit_text.problems, *decoded.problems]
        if unit_text.problems or decoded.problems:
            self.broken_overlays[f"operation {unit_text.document.value.get('operation')}"] = unit_text.document.marks.place.file
        else:
            self.overlays += [(unit_text, overlay) for overlay in decoded.overlays]

    def _add_file_problems(self, file: str, problems: Iterable[Problem]) -> None:
        """Report problems that belong to a file, not to a unit."""
        of_file = list(problems)
        self.problems += of_file
        if of_file:
            self.broken.add(file)

    def layers(self) -> Layers:
        """Return the overlays by unit."""
        layers: dict[str, list[Layer]] = {}
        for unit_text, overlay in self.overlays:
            layers.setdefault(f"operation {overlay.overlay.keys.operation}", []).append((unit_text, overlay))
        return layers

    def lost_layers(self, earlier: Iterable[Layer], units: Collection[str]) -> list[Layer]:
        """Return those of earlier overlays that are not there now, and whose file has become unreadable, or has an overlay that is broken.

        It is broken if it cannot be read, or if its operation is none of the ``units``.
        """
        orphaned = {
            overlay.overlay.place.file
            for _, overlay in self.overlays
            if f"operation {overlay.overlay.keys.operation}" not in units
        }
        files = self.broken.union(self.broken_overlays.values(), orphaned)
        present = {_identity(overlay) for _, overlay in self.overlays}
        return [layer for layer in earlier if layer[1].overlay.place.file in files and _identity(layer[1]) not in present]


def _identity(overlay: DecodedOverlay) -> tuple[str, str]:
    return overlay.overlay.keys.overlay, overlay.overlay.keys.operation
