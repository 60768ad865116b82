"""One document of an operation or a link, with its overlays → its unit, checked against the context that all stand on."""

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

_NOTHING = CheckContext({}, {}, frozenset(), {}, {}, None, {})


class UnitBuilder:
    """Compiles units on a context. Without types (``has_types``) they are judged as far as that goes, and built on none."""

    def __init__(
        self, context: BuildContext, layers: Layers, step_types: StepTypes, variables: Mapping[str, str], *, has_types: bool
    ) -> None:
        shared = context.shared
        self.context = context
        self.layers = layers
        self._has_types = has_types
        self._fields = overlay_fields([overlay for found in layers.values() for _, overlay in found])
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

    def is_still(self, unit: Unit, text: str) -> bool:
        """Tell whether a unit of an earlier build is what would be made of a document with this digest."""
        return unit.digest == text and unit.overlays == self._digest_of_layers(unit.key) and unit.stands_on(self.context)

    def _digest_of_layers(self, key: str) -> str:
        return digest(*(found.digest for found, _ in self.layers.get(key, ())))

    def make(self, found: UnitText) -> tuple[Unit | None, list[Problem]]:
        """Return the unit of a document, if it can be served, and what is wrong with it."""
        if self._has_types:
            return self._make(found, self.check_context)
        _, problems = self._make(found, replace(self.check_context, types=None))
        unit, consequences = self._make(found, self.check_context)
        return unit if not consequences else None, problems

    def _make(self, found: UnitText, check_context: CheckContext) -> tuple[Unit | None, list[Problem]]:
        problems = list(found.problems)
        layers = self.layers.get(found.key, [])
        if "operation" in found.document.value:
            made: OverlaidOperations | CheckedLink | None = self._operation(
                found, [overlay for _, overlay in layers], check_context, problems
            )
        else:
            made = _link(found, check_context, problems)
        if made is None or problems:
            return None, problems
        unit = make_unit(found, made, [layer for layer, _ in layers], self.context)
        return (unit if unit.is_whole(check_context.step_types) else None), problems

    def _operation(
        self, found: UnitText, overlays: list[DecodedOverlay], check_context: CheckContext, problems: list[Problem]
    ) -> OverlaidOperations | None:
        decoded = decode_operation(found.document, check_context.step_types, problems)
        if decoded is None:
            return None
        name = decoded.operation.keys.operation
        if name in self._fields:
            decoded = replace(decoded, overlay_fields=self._fields[name])
        operation = build_operation(decoded, check_context, problems)
        made: OverlaidOperations | None = None
        if overlays:
            bases = {name: BaseOperation(_with_arguments(decoded, operation), operation)} if operation else {}
            made = build_overlays(overlays, bases, {name}, check_context, problems)
        if operation is None or (made and made.overlays):
            return made if operation else None
        # Only overlays need the documents and the context later; without them nothing shall hold on to those of an old build.
        return OverlaidOperations(made.operations if made else {name: operation}, (), (), {}, _NOTHING)

    def check_strays(self, keys: Iterable[str], problems: list[Problem]) -> None:
        """Report overlays of operations that are not among the units of these keys."""
        there = set(keys)
        names = {key.removeprefix("operation ") for key in there if key.startswith("operation ")}
        strays = [overlay for key, found in self.layers.items() if key not in there for _, overlay in found]
        build_overlays(strays, {}, names, self.check_context, problems)


def _link(found: UnitText, check_context: CheckContext, problems: list[Problem]) -> CheckedLink | None:
    decoded = decode_link(found.document, check_context.step_types, problems)
    link = build_link(decoded, check_context, problems) if decoded else None
    return CheckedLink(decoded, link) if decoded and link else None


def _with_arguments(decoded: DecodedOperation, operation: Operation) -> DecodedOperation:
    """Write down the arguments that were inferred: overlays add none."""
    args = {argument.name: argument.type for argument in operation.arguments}
    return replace(decoded, document=replace(decoded.document, value={**decoded.document.value, "args": args}))
