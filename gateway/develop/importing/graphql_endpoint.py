"""Import a GraphQL endpoint by introspection: a source, one operation per query field, and the SDL of its types."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLUnionType,
    IntrospectionQuery,
    build_client_schema,
    get_introspection_query,
    get_named_type,
    is_required_argument,
    is_specified_scalar_type,
    print_type,
)

from gateway.develop.importing.fetch import post_json, shown
from gateway.develop.importing.names import argument_names, sentence, snake, source_name
from gateway.develop.importing.result import Imported, ImportFault, Omission
from gateway.develop.importing.yaml_text import CommentedDocument, escape, yaml_text

_FORWARD = 'To forward what clients send, add to the source: headers: { authorization: "{request.headers.authorization?}" }'
_UNUSABLE = "a field whose type has nothing that can be selected, or leads back to the whole schema"


def import_graphql(url: str, headers: Mapping[str, str], name: str | None = None) -> Imported:
    """Import the schema of the endpoint at a URL.

    :raises ImportFault: it is not reachable, does not support introspection, or has no query field that can be an operation.
    """
    schema = introspect(url, headers)
    host = urlsplit(url).hostname or ""
    # A numeric address would make a name of digits only.
    return translate(schema, url, name or source_name(host if any(map(str.isalpha, host)) else "graphql"))


def introspect(url: str, headers: Mapping[str, str]) -> GraphQLSchema:
    """Request the schema of an endpoint.

    :raises ImportFault: it is not reachable, or does not support introspection.
    """
    content = post_json(url, headers, {"query": get_introspection_query(descriptions=True)})
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise ImportFault(f"{shown(url)} is no GraphQL endpoint: its answer is not JSON") from None
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict) or "__schema" not in data:
        messages = [str(error.get("message")) for error in _errors(answer)]
        reason = f": {messages[0][:200]}" if messages else ""
        raise ImportFault(f"{shown(url)} does not answer introspection{reason}; is it switched on there?")
    try:
        return build_client_schema(cast("IntrospectionQuery", data))
    except (GraphQLError, TypeError, KeyError, AttributeError) as error:
        raise ImportFault(f"{shown(url)} describes a schema that cannot be read: {error}") from None


def _errors(answer: object) -> list[Mapping[str, Any]]:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def translate(schema: GraphQLSchema, url: str, name: str) -> Imported:
    """Convert a schema to a configuration.

    :raises ImportFault: it has no query field that can be an operation.
    """
    kept = _Kept(schema, _unusable(schema))
    documents = []
    for field_name, query_field in (schema.query_type.fields if schema.query_type else {}).items():
        if get_named_type(query_field.type) in kept.unusable:
            kept.left_out.append(Omission(_UNUSABLE, f"Query.{field_name}"))
            continue
        kept.keep(get_named_type(query_field.type))
        documents.append(_operation(field_name, query_field, name, kept))
    if not documents:
        raise ImportFault(f"{shown(url)} has no query field that can be an operation")
    for root in (schema.mutation_type, schema.subscription_type):
        kept.left_out += [Omission(f"a field of {root.name}", f"{root.name}.{key}") for key in root.fields] if root else []
    origin = f"Imported from {shown(url)}"
    source = {"sources": {name: {"type": "graphql", "url": f"${{{name.upper()}_URL:-{shown(url)}}}"}}}
    header = (f"{origin} by 'stepgraph import graphql'; change it as you like.", _FORWARD)
    files = {
        "source.yaml": yaml_text([CommentedDocument(source)], header),
        "operations.yaml": yaml_text(documents, (f"{origin}.",)),
    }
    types = [print_type(kept.types[key]) for key in sorted(kept.types)]
    if types:
        files["types.graphql"] = f"# {origin}.\n\n" + "\n\n".join(types) + "\n"
    return Imported(name, files, len(documents), len(types), left_out=tuple(kept.left_out))


def _unusable(schema: GraphQLSchema) -> set[GraphQLNamedType]:
    """Return the types without selectable fields: the root types, and types all of whose fields need arguments or are of such types.

    A root type counts as one because a field of type Query would bring in the whole schema.
    """
    unusable: set[GraphQLNamedType] = {
        root for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root
    }
    # A fixed point: each type that becomes unusable can make those unusable that only refer to it.
    while True:
        more = {kind for kind in schema.type_map.values() if kind not in unusable and not _has_content(kind, unusable)}
        if not more:
            return unusable
        unusable |= more


def _has_content(kind: GraphQLNamedType, unusable: set[GraphQLNamedType]) -> bool:
    if isinstance(kind, GraphQLUnionType):
        return any(member not in unusable for member in kind.types)
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        return any(_obstacle(item, unusable) is None for item in kind.fields.values())
    return True


def _obstacle(item: GraphQLField, unusable: set[GraphQLNamedType]) -> str | None:
    if get_named_type(item.type) in unusable:
        return _UNUSABLE
    needs_arguments = any(is_required_argument(argument) for argument in item.args.values())
    return "a field below an operation that needs arguments of its own" if needs_arguments else None


@dataclass(slots=True)
class _Kept:
    """The types that operations reach, without the fields and arguments that a configuration cannot have; those are in ``left_out``."""

    schema: GraphQLSchema
    unusable: set[GraphQLNamedType]
    types: dict[str, GraphQLNamedType] = field(default_factory=dict)
    left_out: list[Omission] = field(default_factory=list)

    def keep(self, wanted: GraphQLNamedType) -> None:
        """Keep a type and all types that it refers to. The type objects of the schema are changed in place."""
        waiting = [wanted]
        while waiting:
            kind = waiting.pop()
            if kind.name in self.types or is_specified_scalar_type(kind) or kind in self.unusable:
                continue
            self.types[kind.name] = kind
            # Overrides graphql-core's cached properties, which print_type reads.
            if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
                kind.fields = dict(self._fields(kind))
            elif isinstance(kind, GraphQLUnionType):
                kind.types = tuple(member for member in kind.types if member not in self.unusable)
            waiting += self._neighbours(kind)

    def _fields(self, owner: GraphQLObjectType | GraphQLInterfaceType) -> Iterator[tuple[str, GraphQLField]]:
        for name, old in owner.fields.items():
            obstacle = _obstacle(old, self.unusable)
            if obstacle or old.args:
                reason = obstacle or "the optional arguments of a field below an operation"
                self.left_out.append(Omission(reason, f"{owner.name}.{name}"))
            if not obstacle:
                yield name, GraphQLField(old.type, description=old.description, deprecation_reason=old.deprecation_reason)

    def _neighbours(self, kind: GraphQLNamedType) -> Iterator[GraphQLNamedType]:
        if isinstance(kind, GraphQLInterfaceType):
            yield from self.schema.get_possible_types(kind)
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            yield from kind.interfaces
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            yield from (get_named_type(item.type) for item in kind.fields.values())
        if isinstance(kind, GraphQLUnionType):
            yield from kind.types


def _operation(name: str, query_field: GraphQLField, source: str, kept: _Kept) -> CommentedDocument:
    names = argument_names()
    args: dict[str, str] = {}
    variables: dict[str, str] = {}
    declared: list[str] = []
    passed: list[str] = []
    for key, argument in query_field.args.items():
        kept.keep(get_named_type(argument.type))
        own, kind = names.take(snake(key)), _variable_type(argument)
        args[own] = kind
        variables[own] = f"{{{own}}}" if kind.endswith("!") else f"{{{own}?}}"
        declared.append(f"${own}: {kind}")
        passed.append(f"{key}: ${own}")
    call = f"{name}({', '.join(passed)})" if passed else name
    query = f"query({', '.join(declared)}) {{ {call} }}" if declared else f"{{ {call} }}"
    returns = _without_non_null(query_field.type)
    # A step must not have the name of an argument: templates refer to both.
    step_name = next(
        word for word in ("list" if isinstance(returns, GraphQLList) else "one", "answer", "call") if word not in args
    )
    step: dict[str, object] = {"name": step_name, "type": "graphql", "source": source, "query": query}
    step |= {"variables": variables} if variables else {}
    step["returns"] = str(returns)
    description = escape(sentence(query_field.description))
    document: dict[str, object] = {
        "operation": name,
        **({"description": description} if description else {}),
        **({"args": args} if args else {}),
    }
    document["steps"] = [step]
    document["aggregation"] = {"strategy": "pick", "step": step_name}
    reason = query_field.deprecation_reason
    return CommentedDocument(document, (f"deprecated: {sentence(reason)}",) if reason else ())


def _variable_type(argument: GraphQLArgument) -> str:
    """Return the type of an argument, nullable if it has a default: such an argument is optional (GraphQL spec 5.8.5)."""
    text = str(argument.type)
    return text if is_required_argument(argument) else text.removesuffix("!")


def _without_non_null(kind: GraphQLOutputType) -> GraphQLOutputType:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind
