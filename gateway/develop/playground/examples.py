"""GraphQL schema → an example query for each operation: its required arguments, and its leaf fields down to a depth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)
from graphql.type import GraphQLInterfaceType

DEPTH = 2
_INDENT = "  "
_SCALARS: Mapping[str, object] = {"ID": "1", "Int": 1, "Float": 1.0, "Boolean": True, "String": "text"}


@dataclass(frozen=True, slots=True)
class Example:
    """A document for one operation, with variables that are valid for the types. The values are placeholders."""

    operation: str
    description: str | None
    is_mutation: bool
    query: str
    variables: Mapping[str, object]


def examples(schema: GraphQLSchema, depth: int = DEPTH) -> Iterator[Example]:
    """Yield an example for each root field, in the order of the schema. ``depth`` is the number of nested selection sets."""
    for keyword, root in (("query", schema.query_type), ("mutation", schema.mutation_type)):
        for name, field in root.fields.items() if root else ():
            required = {key: argument for key, argument in field.args.items() if is_required_argument(argument)}
            declared = ", ".join(f"${key}: {argument.type}" for key, argument in required.items())
            head = f"{keyword} {name}({declared})" if declared else f"{keyword} {name}"
            given = ", ".join(f"{key}: ${key}" for key in required)
            call = f"{name}({given})" if given else name
            lines = [f"{head} {{", *_selected(call, field.type, depth, _INDENT), "}"]
            variables = {key: _value(argument.type, ()) for key, argument in required.items()}
            yield Example(name, field.description, keyword == "mutation", "\n".join(lines), variables)


def _selected(text: str, output: GraphQLOutputType, depth: int, indent: str) -> list[str]:
    """Return the lines that select a field; none if the field needs a selection set and the depth is used up."""
    named = get_named_type(output)
    if is_leaf_type(named):
        return [indent + text]
    if depth == 0:
        return []
    deeper = indent + _INDENT
    fields: Mapping[str, GraphQLField] = named.fields if isinstance(named, GraphQLObjectType | GraphQLInterfaceType) else {}
    # Fields with required arguments are left out: the values would have to be invented.
    below = [
        line
        for name, field in fields.items()
        if not any(map(is_required_argument, field.args.values()))
        for line in _selected(name, field.type, depth - 1, deeper)
    ]
    return [f"{indent}{text} {{", *(below or [f"{deeper}__typename"]), f"{indent}}}"]


def _value(input_type: GraphQLInputType, above: tuple[str, ...]) -> object:
    """Return a valid value of a type. An input object has its required fields; recursion into the same type ends with null."""
    if isinstance(input_type, GraphQLNonNull):
        return _value(input_type.of_type, above)
    if isinstance(input_type, GraphQLList):
        return [_value(input_type.of_type, above)]
    if isinstance(input_type, GraphQLEnumType):
        return next(iter(input_type.values))
    if isinstance(input_type, GraphQLInputObjectType):
        if input_type.name in above:
            return None
        required = {name: field for name, field in input_type.fields.items() if is_required_input_field(field)}
        return {name: _value(field.type, (*above, input_type.name)) for name, field in required.items()}
    return _SCALARS.get(input_type.name, "text")
