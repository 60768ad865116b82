"""Variables and arguments of requests → coerced values (GraphQL spec 6.1.2, 6.4.1), compiled once per document.

There is a fast path for values that already have the Python type of their built-in scalar. Everything else, and every error, is left to
graphql-core.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
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
    """A value is absent, or does not already have its Python type: graphql-core has to coerce it."""


# The coercers of the fast path. They compare type(), because isinstance() would take true for an int.


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
    # A large integer is rounded (GraphQL spec 3.5.2); graphql-core rejects one that a float does not hold exactly.
    if type(value) is int and -_MAX_FLOAT <= value <= _MAX_FLOAT:
        return float(value)
    if type(value) is not float or not math.isfinite(value):
        raise NeedsFullCoercion
    return value


def _boolean(value: object) -> object:
    if type(value) is not bool:
        raise NeedsFullCoercion
    return value


_FAST_COERCERS: Mapping[str, Coercer] = {"String": _string, "ID": _id, "Int": _int, "Float": _float, "Boolean": _boolean}


class Variables(Record, frozen=True):
    """The coerced variables of a request; ``exact`` returns them as graphql-core's own type, for its coercion of arguments."""

    coerced: Mapping[str, object]
    exact: Callable[[], VariableValues]

    @classmethod
    def of_conditions(cls, values: Mapping[str, object]) -> "Variables":
        """Return variables with the values of conditions only, which is all that planning reads."""
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
        self._redaction = redaction
        self._hides_suggestions = hides_suggestions
        declared = definition.variable_definitions or ()
        self._coercers = [(variable.variable.name.value, _fast_coercer(variable.type)) for variable in declared]

    def __call__(self, given: Mapping[str, object]) -> Variables:
        """Coerce the variables that a request gives.

        :raises RequestError: a value is missing or not of its type, or there are too many values.
        """
        if not self._coercers:
            return NO_VARIABLES
        try:
            coerced = {name: coerce(given.get(name)) for name, coerce in self._coercers}
        except NeedsFullCoercion:
            self._check_size(given)
            exact = self._exact(given)
            return Variables(exact.coerced, lambda: exact)
        # graphql-core gets the floats that were made of large integers: it would reject the integers.
        return Variables(coerced, lambda: self._exact({**given, **_floats(coerced)}))

    def _check_size(self, given: Mapping[str, object]) -> None:
        maximum = self._limits.max_values
        if has_more_values(given, maximum):
            message = f"The variables have more than {maximum} values."
            if self._limits.mode == "enforce":
                raise RequestError(Code.BAD_USER_INPUT, 400, {"message": message})
            log.warning("variables exceed a limit")

    def _exact(self, given: Mapping[str, object]) -> VariableValues:
        result = get_variable_values(
            self._schema,
            self._definition.variable_definitions or (),
            dict(given),
            max_errors=MAX_VARIABLE_ERRORS,
            hide_suggestions=self._hides_suggestions,
        )
        if isinstance(result, list):
            raise RequestError(
                Code.BAD_USER_INPUT, 400, *(self._redaction.redact(format_error(error), given) for error in result)
            )
        return result


def _floats(values: Mapping[str, object]) -> dict[str, float]:
    return {name: value for name, value in values.items() if type(value) is float}


def _fast_coercer(node: TypeNode) -> Coercer:
    # A null never takes the fast path, so the same coercer serves nullable and non-null types.
    inner = node.type if isinstance(node, NonNullTypeNode) else node
    return _no_fast_path if isinstance(inner, ListTypeNode) else _FAST_COERCERS.get(inner.name.value, _no_fast_path)  # type: ignore[attr-defined]


def _no_fast_path(value: object) -> object:
    raise NeedsFullCoercion


class ArgumentCoercion:
    """Coerces the arguments of one selected field. ``max_values`` and ``max_characters`` bound what literals make of the variables in them."""

    def __init__(
        self, field: GraphQLField, node: FieldNode, max_values: int = sys.maxsize, max_characters: int = sys.maxsize
    ) -> None:
        self._field = field
        self._node = node
        self._max_values = max_values
        self._max_characters = max_characters
        self._from_variables: list[tuple[str, str]] | None = []
        """Arguments of scalar types with the variables that give them; None if graphql-core has to coerce the arguments of each request."""
        self._constant: dict[str, object] = {}
        written = {argument.name.value: argument.value for argument in node.arguments or ()}
        self._is_composed = any(not isinstance(value, VariableNode) and _has_variables(value) for value in written.values())
        """Whether a list or object literal has variables in it: it may repeat many times what a request sends once."""
        for name, value in written.items():
            if isinstance(value, VariableNode) and is_specified_scalar_type(get_named_type(field.args[name].type)):
                self._from_variables.append((name, value.name.value))
            elif _has_variables(value):
                self._from_variables = None
                return
        self._prepare(written)

    def _prepare(self, written: Mapping[str, object]) -> None:
        """Coerce what is the same in all requests: literals and defaults. If that fails, each request gets the error from :meth:`_exact`."""
        assert self._from_variables is not None
        variable_names = dict(self._from_variables)
        literals = tuple(argument for argument in self._node.arguments or () if argument.name.value not in variable_names)
        declared = {name: argument for name, argument in self._field.args.items() if name not in variable_names}
        try:
            given = get_argument_values(
                GraphQLField(self._field.type, declared), FieldNode(name=self._node.name, arguments=literals)
            )
        except GraphQLError:
            self._from_variables = None
            return
        if is_beyond_json(given):
            self._from_variables = None
            return
        self._constant = {name: given.get(name) for name in self._field.args}

    def __call__(self, variables: Variables) -> Mapping[str, object]:
        """Return the arguments by name, null for those that are not given; the mapping is shared, do not modify it.

        :raises RequestError: a variable is null where the argument may not be, or JSON cannot represent a value.
        """
        if self._from_variables is None:
            return self._exact(variables)
        if not self._from_variables:
            return self._constant
        values = dict(self._constant)
        for name, variable in self._from_variables:
            value = variables.coerced.get(variable)
            # A null may stand for the argument's default; a float or list may have an infinity in it, from a default such as 1e999.
            if value is None or isinstance(value, float | list):
                return self._exact(variables)
            values[name] = value
        return values

    def _exact(self, variables: Variables) -> dict[str, object]:
        try:
            given = get_argument_values(self._field, self._node, variables.exact())
        except GraphQLError as error:
            raise RequestError(Code.BAD_USER_INPUT, 400, format_error(error)) from None
        if self._is_composed and (has_more_values(given, self._max_values) or _has_more_text(given, self._max_characters)):
            message = f"An argument of '{self._node.name.value}' repeats variables in it too often: it is too large."
            raise RequestError(Code.BAD_USER_INPUT, 400, {"message": message})
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


def is_beyond_json(value: object) -> bool:
    """Tell whether JSON cannot represent a coerced value: it has a float such as 1e999 in it, which is read as infinity, or is nested too deep."""
    level = [value]
    for _ in range(MAX_ARGUMENT_DEPTH + 1):
        if any(type(item) is float and not math.isfinite(item) for item in level):
            return True
        level = _inside(level)
        if not level:
            return False
    return True


def _inside(values: Iterable[object]) -> list[object]:
    """Return the items and fields of the lists and objects among some values."""
    inner = [value.values() if isinstance(value, dict) else value for value in values if isinstance(value, dict | list)]
    return list(chain.from_iterable(inner))


def _has_more_text(value: object, maximum: int) -> bool:
    """Tell whether the texts in a value, at all depths, have more than ``maximum`` characters in total."""
    level, count = [value], 0
    while level:
        count += sum([len(item) for item in level if isinstance(item, str)])
        if count > maximum:
            return True
        level = _inside(level)
    return False


def has_more_values(value: object, maximum: int) -> bool:
    """Tell whether lists and objects have more than ``maximum`` items and fields in total, at all depths."""
    pending = [value]
    count = 0
    while pending and count <= maximum:
        current = pending.pop()
        items = current.values() if isinstance(current, dict) else current if isinstance(current, list) else ()
        count += len(items)
        pending.extend(item for item in items if isinstance(item, dict | list))
    return count > maximum


def format_error(error: GraphQLError) -> dict[str, object]:
    """Format an error for the client. The message is truncated, because it may repeat a long value that the client sent."""
    message = error.message if len(error.message) <= MAX_MESSAGE else error.message[:MAX_MESSAGE] + "…"
    formatted: dict[str, object] = {"message": message}
    if error.locations:
        formatted["locations"] = [{"line": location.line, "column": location.column} for location in error.locations]
    return formatted


def format_errors(errors: Iterable[GraphQLError]) -> tuple[dict[str, object], ...]:
    """Format errors for the client; merge those with the same message into one, with all their locations."""
    by_message: dict[str, dict[str, Any]] = {}
    for error in errors:
        formatted = format_error(error)
        first = by_message.setdefault(error.message, formatted)
        if first is not formatted and "locations" in formatted:
            first["locations"] += formatted["locations"]
    return tuple(by_message.values())


class Arguments(Record, frozen=True):
    """Coerced arguments: of each operation call in order, and of link nodes by their index. Arguments that are not given are null."""

    calls: Sequence[Mapping[str, object]]
    links: Mapping[int, Mapping[str, object]] = {}
