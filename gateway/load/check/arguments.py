"""``args:`` of an operation or a link → its arguments: each a type, with an optional default after ``=`` (``limit: "Int = 10"``)."""

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

_MIN_SIMILARITY = 0.9
"""The similarity of two names of ten letters of which one has a letter too many or too few, or two letters swapped."""


@dataclass(frozen=True, slots=True)
class TypedArgument:
    """An argument with its type; None where the type is unknown or the SDL could not be read."""

    argument: Argument
    type: GraphQLType | None


def read_arguments(
    decoded: Decoded[OperationKeys] | Decoded[LinkKeys],
    written: Mapping[str, str | ArgumentKeys],
    types: GraphQLSchema | None,
    problems: list[Problem],
) -> tuple[TypedArgument, ...]:
    """Read arguments. Mistakes are added to ``problems``."""
    return tuple(_typed(decoded, name, keys, types, problems) for name, keys in written.items())


def similar_argument_warnings(operation: Operation) -> Iterator[str]:
    """Yield a warning for each two inferred arguments whose names are so similar that one may be a typo of the other."""
    names = [argument.name for argument in operation.arguments if operation.are_arguments_inferred]
    for first, second in combinations(names, 2):
        if SequenceMatcher(None, first, second).ratio() > _MIN_SIMILARITY:
            yield (
                f"the operation '{operation.name}' has the arguments '{first}' and '{second}', which are inferred and very similar; "
                f"if one of them is misspelt, correct it, else write 'args:'"
            )


def _typed(
    decoded: Decoded[OperationKeys] | Decoded[LinkKeys],
    name: str,
    keys: str | ArgumentKeys,
    types: GraphQLSchema | None,
    problems: list[Problem],
) -> TypedArgument:
    argument = _from_text(name, keys) if isinstance(keys, str) else _from_mapping(name, keys)
    argument = replace(argument, is_sensitive=argument.is_sensitive or holds_sensitive(argument.type, types))
    resolved = resolve_type(argument.type, types) if types else None
    if isinstance(resolved, str):
        problems.append(decoded.problem(("args", name, "type"), resolved, "unknown-type"))
        return TypedArgument(argument, None)
    if resolved is None:
        return TypedArgument(argument, None)
    if not is_input_type(resolved):
        message = f"'{argument.type}' is not an input type"
        problems.append(decoded.problem(("args", name, "type"), message, "not-an-input-type"))
        return TypedArgument(replace(argument, type=str(resolved)), resolved)
    if isinstance(keys, ArgumentKeys) and "default" in keys.model_fields_set:
        argument = replace(argument, default=value_to_literal(keys.default, resolved))
        mistake = _default_mistake(argument.default, resolved) if argument.default else f"the default does not fit '{resolved}'"
    else:
        mistake = _default_mistake(argument.default, resolved) if argument.default else None
    if mistake:
        problems.append(decoded.problem(("args", name, "default"), mistake, "bad-default"))
    elif argument.deprecated and argument.is_required:
        message = "clients have to give this argument, so it cannot be deprecated; give it a default, or a type without '!'"
        problems.append(decoded.problem(("args", name, "deprecated"), message, "deprecated-required"))
    return TypedArgument(replace(argument, type=str(resolved)), resolved)


def _from_mapping(name: str, keys: ArgumentKeys) -> Argument:
    return Argument(name, keys.type, None, keys.description, keys.deprecated, keys.sensitive)


def _from_text(name: str, text: str) -> Argument:
    """Parse an argument like an input field of the SDL. Any other text is kept as the type, which is then reported as unknown."""
    if "=" not in text:
        return Argument(name, text)
    try:
        definitions = parse(f"input _ {{ {name}: {text} }}", no_location=True).definitions
    except GraphQLError:
        return Argument(name, text)
    fields = definitions[0].fields if isinstance(definitions[0], InputObjectTypeDefinitionNode) else None
    # The text might close the brace and go on: only one field without directives is an argument.
    if len(definitions) > 1 or not fields or len(fields) > 1 or fields[0].directives:
        return Argument(name, text)
    return Argument(name, print_ast(fields[0].type), fields[0].default_value)


def _default_mistake(default: ConstValueNode, declared: GraphQLInputType) -> str | None:
    errors: list[str] = []
    validate_input_literal(default, declared, lambda error, _path: errors.append(error.message))
    return f"the default does not fit: {errors[0]}" if errors else None
