"""Units and their context → the Blueprint, given that the units are compatible."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.blueprint import Blueprint, Link, Operation, Overlay
from gateway.errors import Place, Problem
from gateway.load.build.unit import BuildContext, CheckedLink, Unit, digest
from gateway.load.check.link import links_by_type
from gateway.load.check.overlay import OverlaidOperations
from gateway.load.read.files import Files
from gateway.load.types.sdl import SdlTypes, read_types


def assemble(files: Files, units: Mapping[str, Unit], context: BuildContext, *, is_whole: bool) -> Blueprint:
    """Return the blueprint of units. ``is_whole`` if they are exactly those of the files: then the version is the hash of the files alone."""
    positions = {file: position for position, file in enumerate(files.texts)}

    def order(place: Place) -> tuple[int, Place]:
        return positions.get(place.file, len(positions)), place

    ordered = sorted(units.values(), key=lambda unit: order(unit.place))
    overlaid = {
        unit.operation.name: unit.compiled for unit in ordered if unit.operation and isinstance(unit.compiled, OverlaidOperations)
    }
    overlays = sorted(
        (overlay for compiled in overlaid.values() for overlay in compiled.overlays), key=lambda item: order(item.place)
    )
    # With kept units the files alone do not determine what is served, so the units are part of the version too.
    served = [f"{unit.key} {unit.digest} {unit.overlays}" for unit in ordered]
    return Blueprint(
        version=files.version if is_whole else digest(files.version, *served)[:16],
        sources=context.shared.sources,
        operations={name: compiled.operations[name] for name, compiled in overlaid.items()},
        links=links_of(ordered, context, []),
        types=context.types.fresh(),
        overlays=tuple(overlays),
        overlaid=frozenset(overlay.operation for overlay in overlays),
        effective=_Effective(overlaid, overlays).operation,
        sensitive=frozenset(_sensitive(ordered)),
        called=frozenset(context.shared.sources.values()).union(*(unit.called() for unit in ordered)),
        **context.shared.fields,
    )


def _sensitive(units: Iterable[Unit]) -> Iterator[str]:
    """Yield the names of sensitive arguments, including those of kept definitions."""
    for unit in units:
        arguments = unit.operation.arguments if unit.operation else ()
        arguments = unit.compiled.link.arguments if isinstance(unit.compiled, CheckedLink) else arguments
        yield from (argument.name for argument in arguments if argument.is_sensitive)


@dataclass(frozen=True, slots=True)
class _Effective:
    """Builds effective operations. The positions of overlays in the whole configuration are mapped to those of the operation's own overlays."""

    overlaid: Mapping[str, OverlaidOperations]
    overlays: list[Overlay]

    def operation(self, name: str, positions: tuple[int, ...]) -> Operation:
        """Build the effective operation for a name and the positions of the overlays that apply.

        :raises ConfigurationError: the overlays are valid alone, but contradict each other.
        """
        compiled = self.overlaid[name]
        return compiled.effective(name, tuple(compiled.overlays.index(self.overlays[position]) for position in positions))


def links_of(units: Collection[Unit], context: BuildContext, problems: list[Problem]) -> dict[tuple[str, str], Link]:
    """Return the links of some units by type and field. Links that conflict with others or with an operation are reported."""
    compiled = [(unit.compiled.decoded, unit.compiled.link) for unit in units if isinstance(unit.compiled, CheckedLink)]
    links = links_by_type(compiled, context.types.schema, problems)
    operations = {unit.composite: unit.operation.name for unit in units if unit.operation and unit.composite}
    documents = {link: decoded.link for decoded, link in compiled}
    for (owner, _), link in links.items():
        if owner in operations:
            message = f"the fields of '{owner}' are those of the steps of the operation '{operations[owner]}'; add a step to it"
            problems.append(documents[link].problem(("field",), message, "link-of-operation"))
    return links


def are_compatible(units: Mapping[str, Unit], context: BuildContext) -> bool:
    """Tell whether no two operations define the same type, and no two links the same field."""
    names = [unit.composite for unit in units.values() if unit.composite]
    problems: list[Problem] = []
    links_of(units.values(), context, problems)
    return len(names) == len(set(names)) and not problems


def extend_context(units: Mapping[str, Unit], context: BuildContext, before: BuildContext) -> BuildContext | None:
    """Return a context that also has the types and context values that only kept units need; None where one of the types has changed."""
    known = context.types.digests
    missing = {name for unit in units.values() for name, text in unit.basis.items() if text and name not in known}
    types: SdlTypes | None = context.types
    if missing:
        types, problems = read_types({"types": context.types.text(known), "kept": before.types.text(missing)})
        types = None if problems else types
    if types is None or not all(
        types.digests.get(name, "") == text for unit in units.values() for name, text in unit.basis.items()
    ):
        return None
    values = {**before.shared.fields["context"], **context.shared.fields["context"]}
    fields = {**context.shared.fields, "context": values}
    return replace(context, types=types, shared=replace(context.shared, fields=fields))
