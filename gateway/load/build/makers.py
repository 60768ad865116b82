"""One document of an operation or a link, with its overlays → its unit, checked against the context that all units share."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.blueprint import Operation
from gateway.errors import Problem
from gateway.load.build.reading import Layers
from gateway.load.build.unit import BuildContext, CheckedLink, Unit, UnitText, digest, make_unit
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
        self._fields = overlay_fields([overlay for pairs in layers.values() for _, overlay in pairs])
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
        has_same_text = unit.digest == text_digest and unit.overlays == self._digest_of_layers(unit.key)
        return has_same_text and unit.depends_only_on(self.context)

    def _digest_of_layers(self, key: str) -> str:
        return digest(*(layer.digest for layer, _ in self.layers.get(key, ())))

    def build(self, unit_text: UnitText) -> tuple[Unit | None, list[Problem]]:
        """Return the unit of a document, None if it cannot be served, and its problems."""
        if self._has_types:
            return self._build(unit_text, self.check_context)
        # Without the SDL every declared type would be unknown. These problems are consequences of the one in the SDL: they are not reported,
        # but a unit that has any cannot be served.
        _, problems = self._build(unit_text, replace(self.check_context, types=None))
        unit, consequences = self._build(unit_text, self.check_context)
        return unit if not consequences else None, problems

    def _build(self, unit_text: UnitText, check_context: CheckContext) -> tuple[Unit | None, list[Problem]]:
        problems = list(unit_text.problems)
        layers = self.layers.get(unit_text.key, [])
        if "operation" in unit_text.document.value:
            compiled: OverlaidOperations | CheckedLink | None = self._operation(
                unit_text, [overlay for _, overlay in layers], check_context, problems
            )
        else:
            compiled = _link(unit_text, check_context, problems)
        if compiled is None or problems:
            return None, problems
        unit = make_unit(unit_text, compiled, [layer for layer, _ in layers], self.context)
        return (unit if unit.is_whole(check_context.step_types) else None), problems

    def _operation(
        self, unit_text: UnitText, overlays: list[DecodedOverlay], check_context: CheckContext, problems: list[Problem]
    ) -> OverlaidOperations | None:
        decoded = decode_operation(unit_text.document, check_context.step_types, problems)
        if decoded is None:
            return None
        name = decoded.operation.keys.operation
        if name in self._fields:
            decoded = replace(decoded, overlay_fields=self._fields[name])
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


def _link(unit_text: UnitText, check_context: CheckContext, problems: list[Problem]) -> CheckedLink | None:
    decoded = decode_link(unit_text.document, check_context.step_types, problems)
    link = build_link(decoded, check_context, problems) if decoded else None
    return CheckedLink(decoded, link) if decoded and link else None


def _with_arguments(decoded: DecodedOperation, operation: Operation) -> DecodedOperation:
    """Add inferred arguments to the document, so that they are not inferred again from the steps of overlays, which add none."""
    args = {argument.name: argument.type for argument in operation.arguments}
    return replace(decoded, document=replace(decoded.document, value={**decoded.document.value, "args": args}))
