"""``aggregation:`` → how the values of the steps become the value of the operation (paper 5.5). Each strategy is a class.

A strategy determines the type of the operation and the origins of its fields.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from graphql import GraphQLNonNull, GraphQLObjectType, GraphQLSchema

from gateway.blueprint import Origin, Strategy
from gateway.errors import Problem, did_you_mean
from gateway.load.check.draft import StepDraft
from gateway.load.check.references import resolve_type
from gateway.load.read.decode import Decoded
from gateway.load.types.sdl import ROOT_TYPES
from gateway.load.types.sensitive import is_marked_sensitive
from gateway.settings import OperationKeys, StepKeys

Drafts = Mapping[str, StepDraft]


class Aggregation(ABC):
    """The aggregation of one operation by one strategy. Mistakes are added to ``problems``."""

    def __init__(self, operation: Decoded[OperationKeys], types: GraphQLSchema | None, problems: list[Problem]) -> None:
        self._operation = operation
        self._keys = operation.keys.aggregation
        self._types = types
        self._problems = problems

    @abstractmethod
    def strategy(self, steps: Drafts) -> Strategy:
        """Return the strategy for the Blueprint. Only valid without problems."""

    def check(self, steps: Drafts, step_names: frozenset[str], overlay_fields: frozenset[str]) -> None:
        """Report mistakes, given the steps that could be read, the names of all steps, and the fields that overlays fill."""
        for index, name in enumerate(self._keys.required_steps):
            self._check_step_name(("aggregation", "required_steps", index), name, step_names)
        self._check(steps, step_names, overlay_fields)

    @abstractmethod
    def _check(self, steps: Drafts, step_names: frozenset[str], overlay_fields: frozenset[str]) -> None: ...

    def declared_type(self, keys: StepKeys) -> str | None:
        """Return the type that the SDL gives the field of a step, as text."""
        return None

    def sensitive_fields(self) -> Iterable[str]:
        """Return the fields of its type that have ``@sensitive`` in the SDL."""
        return ()

    def _check_step_name(self, path: tuple[str | int, ...], name: str, step_names: frozenset[str]) -> None:
        if name not in step_names:
            hint = did_you_mean(name, step_names) or "; it is not a step of this operation"
            self._report(path, f"unknown step '{name}'{hint}", "unknown-step")

    def _report(self, path: tuple[str | int, ...], message: str, code: str) -> None:
        self._problems.append(self._operation.problem(path, message, code))


class _Pick(Aggregation):
    """The value of one step."""

    def strategy(self, steps: Drafts) -> Strategy:
        picked = steps[self._keys.step or ""]
        return Strategy(self._keys.strategy, picked.returns.removesuffix("!"), {}, Origin(picked.keys.name))

    def _check(self, steps: Drafts, step_names: frozenset[str], overlay_fields: frozenset[str]) -> None:
        if self._keys.step is None:
            self._report(("aggregation",), "the strategy 'pick' needs 'step: <name>'", "missing-key")
        else:
            self._check_step_name(("aggregation", "step"), self._keys.step, step_names)


class _Composite(Aggregation):
    """An object with fields from several steps. ``_declared`` is its type in the SDL, if that declares it."""

    def __init__(self, operation: Decoded[OperationKeys], types: GraphQLSchema | None, problems: list[Problem]) -> None:
        super().__init__(operation, types, problems)
        name = operation.keys.operation
        self._name = operation.keys.type or name[0].upper() + name[1:]
        self._declared = self._declared_object()

    def _declared_object(self) -> GraphQLObjectType | None:
        path = ("type",) if self._operation.keys.type else ("operation",)
        if self._name in ROOT_TYPES or (self._name.startswith("__") and self._operation.keys.type):
            message = f"the type '{self._name}' belongs to GraphQL; give the operation another with 'type:'"
            self._report(path, message, "reserved-name")
        declared = self._types.type_map.get(self._name) if self._types and not self._name.startswith("__") else None
        if declared is None or isinstance(declared, GraphQLObjectType):
            return declared
        message = f"the operation's type '{self._name}' is declared, but not as an object type; give it another with 'type:'"
        self._report(path, message, "type-conflict")
        return None

    def strategy(self, steps: Drafts) -> Strategy:
        return Strategy(self._keys.strategy, self._name, self._origins(steps))

    def _origins(self, steps: Drafts) -> dict[str, Origin]:
        """Return the origins of the fields: first those that the SDL declares, then the others in file order."""
        origins = self._fields({name: step for name, step in steps.items() if step.keys.expose})
        first = [field for field in (self._declared.fields if self._declared else ()) if field in origins]
        return {field: origins[field] for field in dict.fromkeys((*first, *origins))}

    @abstractmethod
    def _fields(self, exposed: Drafts) -> dict[str, Origin]:
        """Return the origins of the fields in file order."""

    def sensitive_fields(self) -> Iterable[str]:
        fields = self._declared.fields if self._declared else {}
        return (name for name, field in fields.items() if is_marked_sensitive(field))

    def _check(self, steps: Drafts, step_names: frozenset[str], overlay_fields: frozenset[str]) -> None:
        if self._keys.step is not None:
            message = f"'step' belongs to the strategy 'pick', not to '{self._keys.strategy}'; remove it"
            self._report(("aggregation", "step"), message, "unused-key")
        if steps and not any(step.keys.expose for step in steps.values()):
            self._report(("steps",), "no step is exposed, so the operation has no field; remove an 'expose: false'", "no-field")
        self._check_exposed({name: step for name, step in steps.items() if step.keys.expose})
        self._check_declared_fields(steps, step_names | overlay_fields)

    def _check_exposed(self, exposed: Drafts) -> None:
        """Report exposed steps that cannot fill any field."""

    def _check_declared_fields(self, steps: Drafts, filled_by_name: frozenset[str]) -> None:
        origins = self._origins(steps)
        # A step that could not be read may fill the field of its name: that is no second problem.
        filled = {*origins, *(step.field for step in steps.values()), *filled_by_name}
        for field in (field for field in (self._declared.fields if self._declared else {}) if field not in filled):
            message = f"no step fills the field '{field}' of the operation's type '{self._name}'"
            misnamed = self._misnamed_step(field, steps)
            if misnamed is not None:
                path = ("as",) if misnamed.keys.as_ else ("name",)
                hint = f"; did you mean '{misnamed.field}'?"
                self._problems.append(misnamed.decoded.problem(path, message + hint, "unfilled-field"))
                continue
            hint = did_you_mean(field, origins) or "; if the operation is not meant to have this type, set 'type:'"
            self._report(("steps",), message + hint, "unfilled-field")

    def _misnamed_step(self, field: str, steps: Drafts) -> StepDraft | None:
        """Return a step whose name is similar to that of a field which no step fills."""
        return None


class _Merge(_Composite):
    """An object with a field for each step."""

    def _fields(self, exposed: Drafts) -> dict[str, Origin]:
        return {step.field: Origin(name) for name, step in exposed.items()}

    def declared_type(self, keys: StepKeys) -> str | None:
        field = self._declared.fields.get(keys.as_ or keys.name) if self._declared and keys.expose else None
        return None if field is None else str(field.type)

    def _misnamed_step(self, field: str, steps: Drafts) -> StepDraft | None:
        undeclared = {step.field: step for step in steps.values() if self._declared and step.field not in self._declared.fields}
        return next((step for name, step in undeclared.items() if did_you_mean(field, [name])), None)


class _Flatten(_Composite):
    """An object with the fields of the steps' objects side by side."""

    def _fields(self, exposed: Drafts) -> dict[str, Origin]:
        objects = {name: self._object_of(step) for name, step in exposed.items()}
        return {field: Origin(name, field) for name, returned in objects.items() if returned for field in returned.fields}

    def _check_exposed(self, exposed: Drafts) -> None:
        owners: dict[str, str] = {}
        for name, step in exposed.items():
            returned = self._object_of(step)
            if returned is None and self._types is not None:
                message = f"'flatten' needs steps that return an object type, not '{step.returns}'; give it 'returns:'"
                self._problems.append(step.decoded.problem(("returns",), message, "flatten-needs-object"))
            for field in returned.fields if returned else ():
                if field in owners:
                    message = f"the field '{field}' comes from '{owners[field]}' too; use 'merge', or types with other fields"
                    self._problems.append(step.decoded.problem(("returns",), message, "duplicate-field"))
                owners.setdefault(field, name)

    def _object_of(self, step: StepDraft) -> GraphQLObjectType | None:
        returned = resolve_type(step.returns, self._types) if self._types else None
        returned = returned.of_type if isinstance(returned, GraphQLNonNull) else returned
        return returned if isinstance(returned, GraphQLObjectType) else None


STRATEGIES: Mapping[str, type[Aggregation]] = {"merge": _Merge, "flatten": _Flatten, "pick": _Pick}
"""The strategies by their names in ``aggregation:``."""


def read_aggregation(operation: Decoded[OperationKeys], types: GraphQLSchema | None, problems: list[Problem]) -> Aggregation:
    """Return the aggregation of an operation, by the strategy that it names."""
    return STRATEGIES[operation.keys.aggregation.strategy](operation, types, problems)
