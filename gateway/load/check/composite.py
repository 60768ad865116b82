"""How the steps of an operation become one value: the operation's type, its fields, and where each comes from (paper 5.5)."""

from collections.abc import Iterator, Mapping

from graphql import GraphQLNonNull, GraphQLObjectType, GraphQLSchema

from gateway.blueprint import Origin, Strategy
from gateway.errors import Problem, nearest
from gateway.load.check.draft import StepDraft
from gateway.load.check.references import resolve_type
from gateway.load.read.decode import Decoded
from gateway.load.types.sdl import ROOT_TYPES
from gateway.load.types.sensitive import is_declared
from gateway.settings import OperationKeys, StepKeys


class Composite:
    """The type of an operation. ``declared`` is what the SDL says of it, if anything."""

    def __init__(self, operation: Decoded[OperationKeys], types: GraphQLSchema | None, problems: list[Problem]) -> None:
        self._operation = operation
        self._aggregation = operation.keys.aggregation
        self._types = types
        self._problems = problems
        name = operation.keys.operation
        self.name = operation.keys.type or name[0].upper() + name[1:]
        self.strategy = Strategy(self._aggregation.strategy)
        self.declared = self._declared()

    def _declared(self) -> GraphQLObjectType | None:
        path = ("type",) if self._operation.keys.type else ("operation",)
        if self.strategy is Strategy.PICK:
            return None
        if self.name in ROOT_TYPES or (self.name.startswith("__") and self._operation.keys.type):
            self._report(
                path, f"the type '{self.name}' belongs to GraphQL; give the operation another with 'type:'", "reserved-name"
            )
        declared = self._types.type_map.get(self.name) if self._types and not self.name.startswith("__") else None
        if declared is None or isinstance(declared, GraphQLObjectType):
            return declared
        message = f"the operation's type '{self.name}' is declared, but not as an object type; give it another with 'type:'"
        self._report(path, message, "type-conflict")
        return None

    def declared_type(self, keys: StepKeys) -> str | None:
        """Return the type that the SDL gives the field of a step, as text."""
        field = self.declared.fields.get(keys.as_ or keys.name) if self.declared and keys.expose else None
        return str(field.type) if field is not None and self.strategy is Strategy.MERGE else None

    def sensitive_fields(self) -> Iterator[str]:
        """Yield the fields that the SDL declares to be sensitive."""
        fields = self.declared.fields if self.declared else {}
        yield from (name for name, field in fields.items() if is_declared(field))

    def check(self, steps: Mapping[str, StepDraft], step_names: frozenset[str], overlay_fields: frozenset[str]) -> None:
        """Report what is wrong with the aggregation, given the steps that could be read, the names of all, and the fields of overlays."""
        for index, name in enumerate(self._aggregation.required_steps):
            self._check_step_name(("aggregation", "required_steps", index), name, step_names)
        if self.strategy is Strategy.PICK:
            if self._aggregation.step is None:
                self._report(("aggregation",), "the strategy 'pick' needs 'step: <name>'", "missing-key")
            else:
                self._check_step_name(("aggregation", "step"), self._aggregation.step, step_names)
            return
        if self._aggregation.step is not None:
            message = f"'step' belongs to the strategy 'pick', not to '{self.strategy}'; remove it"
            self._report(("aggregation", "step"), message, "unused-key")
        if steps and not any(step.keys.expose for step in steps.values()):
            self._report(("steps",), "no step is exposed, so the operation has no field; remove an 'expose: false'", "no-field")
        if self.strategy is Strategy.FLATTEN:
            self._check_flatten(steps)
        self._check_declared_fields(steps, step_names | overlay_fields)

    def _check_step_name(self, path: tuple[str | int, ...], name: str, step_names: frozenset[str]) -> None:
        if name not in step_names:
            hint = nearest(name, step_names) or "; it is not a step of this operation"
            self._report(path, f"unknown step '{name}'{hint}", "unknown-step")

    def _check_flatten(self, steps: Mapping[str, StepDraft]) -> None:
        owners: dict[str, str] = {}
        for name, step in steps.items():
            returned = self._object_of(step) if step.keys.expose else None
            if step.keys.expose and returned is None and self._types is not None:
                message = f"'flatten' needs steps that return an object type, not '{step.returns}'; give it 'returns:'"
                self._problems.append(step.decoded.problem(("returns",), message, "flatten-needs-object"))
            for field in returned.fields if returned else ():
                if field in owners:
                    message = f"the field '{field}' comes from '{owners[field]}' too; use 'merge', or types with other fields"
                    self._problems.append(step.decoded.problem(("returns",), message, "duplicate-field"))
                owners.setdefault(field, name)

    def _check_declared_fields(self, steps: Mapping[str, StepDraft], filled_by_name: frozenset[str]) -> None:
        origins = self.origins(steps)
        filled = {*origins, *(step.field for step in steps.values()), *filled_by_name}
        declared = self.declared.fields if self.declared else {}
        strangers = {step.field: step for step in steps.values() if step.field not in declared}
        for field in (field for field in declared if field not in filled):
            message = f"no step fills the field '{field}' of the operation's type '{self.name}'"
            meant = next((step for name, step in strangers.items() if nearest(field, [name])), None)
            if meant is not None and self.strategy is Strategy.MERGE:
                path = ("as",) if meant.keys.as_ else ("name",)
                hint = f"; did you mean '{meant.field}'?"
                self._problems.append(meant.decoded.problem(path, message + hint, "unfilled-field"))
                continue
            hint = nearest(field, origins) or "; if the operation is not meant to have this type, set 'type:'"
            self._report(("steps",), message + hint, "unfilled-field")

    def origins(self, steps: Mapping[str, StepDraft]) -> dict[str, Origin]:
        """Return where each field comes from: first those that the SDL declares, then the others in file order."""
        exposed = [step for step in steps.values() if step.keys.expose]
        if self.strategy is Strategy.PICK:
            return {}
        if self.strategy is Strategy.MERGE:
            origins = {step.field: Origin(step.keys.name) for step in exposed}
        else:
            objects = [(step.keys.name, self._object_of(step)) for step in exposed]
            origins = {field: Origin(name, field) for name, found in objects if found for field in found.fields}
        first = [field for field in (self.declared.fields if self.declared else ()) if field in origins]
        return {field: origins[field] for field in dict.fromkeys((*first, *origins))}

    def _object_of(self, step: StepDraft) -> GraphQLObjectType | None:
        returned = resolve_type(step.returns, self._types) if self._types else None
        returned = returned.of_type if isinstance(returned, GraphQLNonNull) else returned
        return returned if isinstance(returned, GraphQLObjectType) else None

    def _report(self, path: tuple[str | int, ...], message: str, code: str) -> None:
        self._problems.append(self._operation.problem(path, message, code))
