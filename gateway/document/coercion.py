"""Variables and arguments of requests → coerced values (GraphQL spec 6.1.2, 6.4.1), compiled once per document.

A value that is plainly of its built-in type is taken as it is; everything else, and every error, is graphql-core's.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    NonNullTypeNode,
    OperationDefinitionNode,
    TypeNode,
    VariableNode,
    Visitor,
    get_named_type,
    is_specified_scalar_type,
    visit,
)
from graphql.execution import get_argument_values, get_variable_values
from graphql.execution.values import VariableValues
from graphql.language import ListTypeNode, Node

from gateway.document.redaction import NOTHING_SENSITIVE, Redaction
from gateway.errors import Code, RequestError
from gateway.record import Record
from gateway.settings import LimitsKeys

log = getLogger("stepgraph.coercion")

MAX_VARIABLE_ERRORS = 50
MAX_ARGUMENT_DEPTH = 64
MAX_MESSAGE = 200
_MAX_FLOAT = int(sys.float_info.max)

Coercer = Callable[[object], object]


class NeedsFullCoercion(Exception):
    """A value that is not plainly of its type, or is absent: graphql-core decides."""


def _string(value: object) -> object:
    if type(value) is not str:
        raise NeedsFullCoercion
    return value


def _id(value: object) -> object:
    return str(value) if type(value) is int else _string(value)


def _int(value: object) -> object:
    if type(value) is not int or not -2147483648 <= value <= 2147483647:
        raise NeedsFullCoercion
    return value


def _float(value: object) -> object:
    if type(value) is int and -_MAX_FLOAT <= value <= _MAX_FLOAT:  # rounded (GraphQL spec 3.5.2), where graphql-core refuses it
        return float(value)
    if type(value) is not float or not math.isfinite(value):
        raise NeedsFullCoercion
    return value


def _boolean(value: object) -> object:
    if type(value) is not bool:
        raise NeedsFullCoercion
    return value


_PLAIN: Mapping[str, Coercer] = {"String": _string, "ID": _id, "Int": _int, "Float": _float, "Boolean": _boolean}


class Variables(Record, frozen=True):
    """The coerced variables of a request; ``exact`` gives them as graphql-core wants to have them."""

    coerced: Mapping[str, object]
    exact: Callable[[], VariableValues]

    @classmethod
    def of_conditions(cls, values: Mapping[str, object]) -> "Variables":
        """Return the variables of conditions alone, which is all that planning asks for."""
        return cls(values, lambda: VariableValues({}, {}))


NO_VARIABLES = Variables({}, lambda: VariableValues({}, {}))


class VariableCoercion:
    """Coerces the variables of one operation definition."""

    def __init__(
        self,
        schema: GraphQLSchema,
        definition: OperationDefinitionNode,
        limits: LimitsKeys,
        redaction: Redaction = NOTHING_SENSITIVE,
        *,
        hides_suggestions: bool,
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._definition = definition
        self._discreet = redaction
        self._hides_suggestions = hides_suggestions
        declared = definition.variable_definitions or ()
        self._plain = [(variable.variable.name.value, _plain_coercer(variable.type)) for variable in declared]

    def __call__(self, given: Mapping[str, object]) -> Variables:
        """Coerce what a request gives.

        :raises RequestError: a value is missing or not of its type.
        """
        if not self._plain:
            return NO_VARIABLES
        try:
            coerced = {name: coerce(given.get(name)) for name, coerce in self._plain}
        except NeedsFullCoercion:
            self._check_size(given)
            exact = self._exact(given)
            return Variables(exact.coerced, lambda: exact)
        return Variables(coerced, lambda: self._exact({**given, **_floats(coerced)}))

    def _check_size(self, given: Mapping[str, object]) -> None:
        most = self._limits.max_values
        if has_more_values(given, most):
            message = f"The variables have more than {most} values."
            if self._limits.mode == "enforce":
                raise RequestError(Code.BAD_USER_INPUT, 400, {"message": message})
            log.warning("variables exceed a limit")

    def _exact(self, given: Mapping[str, object]) -> VariableValues:
        found = get_variable_values(
            self._schema,
            self._definition.variable_definitions or (),
            dict(given),
            max_errors=MAX_VARIABLE_ERRORS,
            hide_suggestions=self._hides_suggestions,
        )
        if isinstance(found, list):
            raise RequestError(Code.BAD_USER_INPUT, 400, *(self._discreet.told(told(error), given) for error in found))
        return found


def _floats(values: Mapping[str, object]) -> dict[str, float]:
    return {name: value for name, value in values.items() if type(value) is float}


def _plain_coercer(node: TypeNode) -> Coercer:
    inner = node.type if isinstance(node, NonNullTypeNode) else node
    return _never_plain if isinstance(inner, ListTypeNode) else _PLAIN.get(inner.name.value, _never_plain)  # type: ignore[attr-defined]


def _never_plain(value: object) -> object:
    raise NeedsFullCoercion


class ArgumentCoercion:
    """Coerces the arguments of one selected field."""

    def __init__(self, field: GraphQLField, node: FieldNode) -> None:
        self._field = field
        self._node = node
        self._from_variables: list[tuple[str, str]] | None = []
        self._constant: dict[str, object] = {}
        written = {argument.name.value: argument.value for argument in node.arguments or ()}
        for name, value in written.items():
            if isinstance(value, VariableNode) and is_specified_scalar_type(get_named_type(field.args[name].type)):
                self._from_variables.append((name, value.name.value))
            elif _has_variables(value):
                self._from_variables = None
                return
        self._prepare(written)

    def _prepare(self, written: Mapping[str, object]) -> None:
        """Coerce what is the same in all requests: literals and defaults."""
        assert self._from_variables is not None
        taken = dict(self._from_variables)
        literal = FieldNode(
            name=self._node.name,
            arguments=tuple(argument for argument in self._node.arguments or () if argument.name.value not in taken),
        )
        try:
            field = GraphQLField(self._field.type, {name: arg for name, arg in self._field.args.items() if name not in taken})
            given = get_argument_values(field, literal)
        except GraphQLError:
            self._from_variables = None  # told anew for each request
            return
        if is_beyond_json(given):
            self._from_variables = None
            return
        self._constant = {name: given.get(name) for name in self._field.args}

    def __call__(self, variables: Variables) -> Mapping[str, object]:
        """Return the arguments by name, those that are not given as null; the mapping is not to be written to.

        :raises RequestError: a variable is null where the argument may not be, or a value is beyond JSON.
        """
        if self._from_variables is None:
            return self._exact(variables)
        if not self._from_variables:
            return self._constant
        values = dict(self._constant)
        for name, variable in self._from_variables:
            value = variables.coerced.get(variable)
            if value is None or isinstance(value, float | list):
                return self._exact(variables)
            values[name] = value
        return values

    def _exact(self, variables: Variables) -> dict[str, object]:
        try:
            given = get_argument_values(self._field, self._node, variables.exact())
        except GraphQLError as error:
            raise RequestError(Code.BAD_USER_INPUT, 400, told(error)) from None
        if is_beyond_json(given):
            message = f"An argument of '{self._node.name.value}' is too large a number, or nested too deep."
            raise RequestError(Code.BAD_USER_INPUT, 400, {"message": message})
        return {name: given.get(name) for name in self._field.args}


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def enter_variable(self, *_: object) -> None:
        self.found = True


def _has_variables(value: Node) -> bool:
    visitor = _Variables()
    visit(value, visitor)
    return visitor.found


def is_beyond_json(value: object, depth: int = 0) -> bool:
    """Tell whether a coerced value has something in it that is no JSON: a float such as 1e999, which reads as infinity, or too deep a nesting."""
    if isinstance(value, float):
        return not math.isfinite(value)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > MAX_ARGUMENT_DEPTH or any(is_beyond_json(item, depth + 1) for item in items)


def has_more_values(value: object, most: int) -> bool:
    """Tell whether lists and objects have more items and fields than ``most``, at whatever depth."""
    waiting = [value]
    count = 0
    while waiting and count <= most:
        found = waiting.pop()
        items = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
        count += len(items)
        waiting.extend(item for item in items if isinstance(item, dict | list))
    return count > most


def told(error: GraphQLError) -> dict[str, object]:
    """Return an error as a client gets it: what it sent is echoed, but not at length."""
    message = error.message if len(error.message) <= MAX_MESSAGE else error.message[:MAX_MESSAGE] + "…"
    answer: dict[str, object] = {"message": message}
    if error.locations:
        answer["locations"] = [{"line": location.line, "column": location.column} for location in error.locations]
    return answer


def told_once(errors: Iterable[GraphQLError]) -> tuple[dict[str, object], ...]:
    """Return errors as a client gets them: those that say the same are one, with all their places."""
    answers: dict[str, dict[str, Any]] = {}
    for error in errors:
        answer = told(error)
        before = answers.setdefault(error.message, answer)
        if before is not answer and "locations" in answer:
            before["locations"] += answer["locations"]
    return tuple(answers.values())


class Arguments(Record, frozen=True):
    """Coerced arguments: of each operation call in order, and of link nodes by their index. Those not given are null."""

    calls: Sequence[Mapping[str, object]]
    links: Mapping[int, Mapping[str, object]] = {}
