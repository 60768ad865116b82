"""``args:`` of an operation or a link → its arguments: each a type, and after ``=`` a default (``limit: "Int = 10"``)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import combinations

from graphql import (
    ConstValueNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    GraphQLType,
    InputObjectTypeDefinitionNode,
    is_input_type,
    parse,
    print_ast,
)
from graphql.utilities import validate_input_literal, value_to_literal

from gateway.blueprint import Argument, Operation
from gateway.errors import Problem
from gateway.load.check.references import resolve_type
from gateway.load.read.decode import Decoded
from gateway.load.types.sensitive import holds_sensitive
from gateway.settings import ArgumentKeys, LinkKeys, OperationKeys

_ALIKE = 0.9
"""A letter too many or too few, or two that are swapped, in a name of ten."""


@dataclass(frozen=True, slots=True)
class TypedArgument:
    """An argument with its type; None where the types could not be read."""

    argument: Argument
    type: GraphQLType | None


def read_arguments(
    decoded: Decoded[OperationKeys] | Decoded[LinkKeys],
    written: Mapping[str, str | ArgumentKeys],
    types: GraphQLSchema | None,
    problems: list[Problem],
) -> tuple[TypedArgument, ...]:
    """Read arguments; what is wrong with them is added to ``problems``."""
    return tuple(_typed(decoded, name, keys, types, problems) for name, keys in written.items())


def doubtful_arguments(operation: Operation) -> Iterator[str]:
    """Yield a warning for each two inferred arguments whose names are so alike that one may be a typo for the other."""
    names = [argument.name for argument in operation.arguments if operation.are_arguments_inferred]
    for first, second in combinations(names, 2):
        if SequenceMatcher(None, first, second).ratio() > _ALIKE:
            yield (
                f"the operation '{operation.name}' has the arguments '{first}' and '{second}', which are inferred and much alike; "
                f"if one of them is misspelt, mend it, else write 'args:'"
            )


def _typed(
    decoded: Decoded[OperationKeys] | Decoded[LinkKeys],
    name: str,
    keys: str | ArgumentKeys,
    types: GraphQLSchema | None,
    problems: list[Problem],
) -> TypedArgument:
    argument = _read(name, keys) if isinstance(keys, str) else _declared(name, keys)
    argument = replace(argument, is_sensitive=argument.is_sensitive or holds_sensitive(argument.type, types))
    found = resolve_type(argument.type, types) if types else None
    if isinstance(found, str):
        problems.append(decoded.problem(("args", name, "type"), found, "unknown-type"))
        return TypedArgument(argument, None)
    if found is None:
        return TypedArgument(argument, None)
    if not is_input_type(found):
        message = f"'{argument.type}' is not an input type"
        problems.append(decoded.problem(("args", name, "type"), message, "not-an-input-type"))
        return TypedArgument(replace(argument, type=str(found)), found)
    if isinstance(keys, ArgumentKeys) and "default" in keys.model_fields_set:
        argument = replace(argument, default=value_to_literal(keys.default, found))
        wrong = _default_mistake(argument.default, found) if argument.default else f"the default does not fit '{found}'"
    else:
        wrong = _default_mistake(argument.default, found) if argument.default else None
    if wrong:
        problems.append(decoded.problem(("args", name, "default"), wrong, "bad-default"))
    elif argument.deprecated and argument.is_required:
        message = "clients have to give this argument, so it cannot be deprecated; give it a default, or a type without '!'"
        problems.append(decoded.problem(("args", name, "deprecated"), message, "deprecated-required"))
    return TypedArgument(replace(argument, type=str(found)), found)


def _declared(name: str, keys: ArgumentKeys) -> Argument:
    return Argument(name, keys.type, None, keys.description, keys.deprecated, keys.sensitive)


def _read(name: str, text: str) -> Argument:
    """Read an argument as the SDL of an input field; what is none is taken for a type, and will be refused as one."""
    if "=" not in text:
        return Argument(name, text)
    try:
        definitions = parse(f"input _ {{ {name}: {text} }}", no_location=True).definitions
    except GraphQLError:
        return Argument(name, text)
    fields = definitions[0].fields if isinstance(definitions[0], InputObjectTypeDefinitionNode) else None
    if len(definitions) > 1 or not fields or len(fields) > 1 or fields[0].directives:
        return Argument(name, text)
    return Argument(name, print_ast(fields[0].type), fields[0].default_value)


def _default_mistake(default: ConstValueNode, declared: GraphQLInputType) -> str | None:
    errors: list[str] = []
    validate_input_literal(default, declared, lambda error, _path: errors.append(error.message))
    return f"the default does not fit: {errors[0]}" if errors else None
