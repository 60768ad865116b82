"""One document of an operation or a link, with its overlays → its unit, checked against the context that all units share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gateway.blueprint import Operation
from gateway.errors import Problem
from gateway.load.build.reading import Layers
from gateway.load.build.unit import BuildContext, CheckedLink, Layer, Unit, UnitText, digest_of_layers, make_unit
from gateway.load.check.draft import CheckContext
from gateway.load.check.link import build_link
from gateway.load.check.operation import build_operation
from gateway.load.check.overlay import BaseOperation, OverlaidOperations, build_overlays, overlay_fields
from gateway.load.read.decode import DecodedOperation, DecodedOverlay, StepTypes, decode_link, decode_operation

_EMPTY_CONTEXT = CheckContext({}, {}, frozenset(), {}, {}, None, {})


class UnitBuilder:
    """Builds units in a context. If the SDL is invalid (not ``has_types``), units are checked without types, as far as that is possible."""

    def __init__(
        self, context: BuildContext, layers: Layers, step_types: StepTypes, variables: Mapping[str, str], *, has_types: bool
    ) -> None:
        shared = context.shared
        self.context = context
        self.layers = layers
        self._has_types = has_types
        self.check_context = CheckContext(
            shared.sources,
            shared.templates,
            shared.names,
            shared.defaults,
            step_types,
            context.types.schema,
            shared.fields["context"],
            variables,
        )

    def is_unchanged(self, unit: Unit, text_digest: str) -> bool:
        """Tell whether a unit of an earlier build equals the one that a document with this digest would give now."""
        has_same_text = unit.digest == text_digest and unit.overlays == digest_of_layers(self.layers.get(unit.key, ()))
        return has_same_text and unit.depends_only_on(self.context)

    def build(self, unit_text: UnitText, earlier: Unit | None = None) -> tuple[Unit | None, list[Problem], list[str]]:
        """Return the unit of a document, None if it cannot be served; its problems; and its overlays that have a problem.

        An overlay concerns those alone whose requests it matches. With a problem it keeps the version that it has in the ``earlier`` unit, or is
        left out if that does not have it, while the operation and its other overlays move on. Without an earlier unit the whole is not served:
        nobody may get what an overlay would have changed.
        """
        layers = self.layers.get(unit_text.key, [])
        unit, problems = self._build_checked(unit_text, layers)
        broken = {name for _, overlay in layers if (name := overlay.overlay.keys.overlay) in _blamed(problems)}
        if not broken or earlier is None or unit_text.problems or any(_overlay_of(problem) not in broken for problem in problems):
            return unit, problems, []
        last_good = {layer[1].overlay.keys.overlay: layer for layer in earlier.layers}
        used: dict[str, Layer] = {}
        for layer in layers:
            name = layer[1].overlay.keys.overlay
            if name not in broken:
                used[name] = layer
            elif name in last_good:
                used[name] = last_good[name]
        unit, further = self._build_checked(unit_text, list(used.values()))
        if unit is None or further:  # the last good version does not go with what has changed
            return None, problems, []
        if (earlier.digest, earlier.overlays) == (unit.digest, unit.overlays) and earlier.depends_only_on(self.context):
            unit = earlier
        return unit, problems, [kept_overlay(layer) for layer in layers if layer[1].overlay.keys.overlay in broken]

    def _build_checked(self, unit_text: UnitText, layers: Sequence[Layer]) -> tuple[Unit | None, list[Problem]]:
        if self._has_types:
            return self._build(unit_text, layers, self.check_context)
        # Without the SDL every declared type would be unknown. These problems are consequences of the one in the SDL: they are not reported,
        # but a unit that has any cannot be served.
        _, problems = self._build(unit_text, layers, replace(self.check_context, types=None))
        unit, consequences = self._build(unit_text, layers, self.check_context)
        return unit if not consequences else None, problems

    def _build(
        self, unit_text: UnitText, layers: Sequence[Layer], check_context: CheckContext
    ) -> tuple[Unit | None, list[Problem]]:
        problems = list(unit_text.problems)
        if "operation" in unit_text.document.value:
            compiled: OverlaidOperations | CheckedLink | None = self._operation(
                unit_text, [overlay for _, overlay in layers], check_context, problems
            )
        else:
            compiled = _link(unit_text, check_context, problems)
        if compiled is None or problems:
            return None, problems
        unit = make_unit(unit_text, compiled, layers, self.context)
        return (unit if unit.is_whole(check_context.step_types) else None), problems

    def _operation(
        self, unit_text: UnitText, overlays: list[DecodedOverlay], check_context: CheckContext, problems: list[Problem]
    ) -> OverlaidOperations | None:
        decoded = decode_operation(unit_text.document, check_context.step_types, problems)
        if decoded is None:
            return None
        name = decoded.operation.keys.operation
        fields = overlay_fields(overlays)
        if name in fields:
            decoded = replace(decoded, overlay_fields=fields[name])
        operation = build_operation(decoded, check_context, problems)
        compiled: OverlaidOperations | None = None
        if overlays:
            bases = {name: BaseOperation(_with_arguments(decoded, operation), operation)} if operation else {}
            compiled = build_overlays(overlays, bases, {name}, check_context, problems)
        if operation is None or (compiled and compiled.overlays):
            return compiled if operation else None
        # Only overlays need the documents and the context later. Without overlays they must not be kept in memory after the next build.
        return OverlaidOperations(compiled.operations if compiled else {name: operation}, (), (), {}, _EMPTY_CONTEXT)

    def check_orphans(self, keys: Iterable[str], problems: list[Problem]) -> None:
        """Report overlays whose operation is not among the units with these keys."""
        present = set(keys)
        names = {key.removeprefix("operation ") for key in present if key.startswith("operation ")}
        orphans = [overlay for key, pairs in self.layers.items() if key not in present for _, overlay in pairs]
        build_overlays(orphans, {}, names, self.check_context, problems)


def kept_overlay(layer: Layer) -> str:
    """Return how an overlay is called among what is kept."""
    keys = layer[1].overlay.keys
    return f"overlay {keys.overlay} of operation {keys.operation}"


def _overlay_of(problem: Problem) -> str:
    """Return the name of the overlay that a problem is about; empty if it is about something else."""
    subject = problem.subject.partition(" · ")[0]
    return subject.removeprefix("overlay ") if subject.startswith("overlay ") else ""


def _blamed(problems: Iterable[Problem]) -> set[str]:
    return {_overlay_of(problem) for problem in problems}


def _link(unit_text: UnitText, check_context: CheckContext, problems: list[Problem]) -> CheckedLink | None:
    decoded = decode_link(unit_text.document, check_context.step_types, problems)
    link = build_link(decoded, check_context, problems) if decoded else None
    return CheckedLink(decoded, link) if decoded and link else None


def _with_arguments(decoded: DecodedOperation, operation: Operation) -> DecodedOperation:
    """Add inferred arguments to the document, so that they are not inferred again from the steps of overlays, which add none."""
    args = {argument.name: argument.type for argument in operation.arguments}
    return replace(decoded, document=replace(decoded.document, value={**decoded.document.value, "args": args}))
