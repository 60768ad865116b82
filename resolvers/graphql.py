"""``type: graphql``: one field of an upstream GraphQL service, with exactly the subfields that the client selects.

``query`` is a document with one leaf field; the client's selection, merged over all aliases, is inserted under it. An upstream error
is reported at its own path, and the rest of the response stays valid.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

from graphql import DocumentNode, FieldNode, GraphQLError, OperationDefinitionNode, OperationType, parse, print_ast

from gateway.blueprint import Source, Step
from gateway.contract import Call, CallContext, Inputs, KeyProblem, Reply, StepType
from gateway.contract.mock import MockUpstream
from gateway.errors import did_you_mean
from gateway.settings import StepKeys, Text, empty
from resolvers.certificates import advise_tls, check_tls
from resolvers.graphql_response import read_response
from resolvers.json_body import decode
from resolvers.json_http import (
    TRANSPORTS,
    HttpSourceKeys,
    OpenTransport,
    advise_url,
    check_headers,
    constant_headers,
    deadline_header,
    egress_mistake,
    encode,
    freshness,
    open_pool,
    status_fault,
    url_mistake,
    varying_headers,
)
from resolvers.transport.encoding import encode_headers, encode_path
from resolvers.transport.stand_in import StandInTransport
from resolvers.transport.transport import Transport, UpstreamRequest


class GraphQLKeys(StepKeys):
    """The keys of a graphql step: a field of an upstream GraphQL service."""

    example = """\
- name: user
  type: graphql
  query: "query($id: ID!) { user(id: $id) }"
  variables: { id: "{customer_id}" }
  returns: User
"""

    query: Text
    """A document with one leaf field: `query($id: ID!) { user(id: $id) }`. The client's selection goes under that field."""
    variables: dict[Text, Any] = empty(dict)
    """The variables of the document; texts in them are templates."""
    headers: dict[Text, Text] = empty(dict)
    """Request headers in addition to those of the source."""


class GraphQLSourceKeys(HttpSourceKeys):
    """The keys of a graphql source."""

    example = """\
people:
  type: graphql
  url: https://people.internal/graphql
  headers: { authorization: "{request.headers.authorization?}" }
"""

    url: Text
    """The endpoint."""


class GraphQLStep(StepType):
    """The step type ``graphql``; ``transports`` open the connection pools of its sources."""

    name = "graphql"
    keys = GraphQLKeys
    cancels_promptly = True
    tells_freshness = True
    source_keys = GraphQLSourceKeys
    timeout_ms = 5000
    templated = ("variables", "headers")
    source_templated = ("headers",)

    def __init__(self, transports: Mapping[str, OpenTransport] = TRANSPORTS) -> None:
        self._transports = transports

    def inputs(self, keys: GraphQLKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the templates of variables and headers."""
        headers = varying_headers(templates["headers"], templates["source"].get("headers", {}))
        return {"variables": templates["variables"], "headers": headers}

    def check(self, keys: GraphQLKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield the problems of the document, its variables and the headers."""
        try:
            definition = _parse_operation(keys.query)
        except GraphQLError as error:
            # graphql-core quotes a misspelt keyword: Unexpected Name 'qurey'.
            word = error.message.rpartition("Unexpected Name '")[2].partition("'")[0]
            hint = did_you_mean(word, ("query", "mutation"))
            yield KeyProblem("query", f"not a GraphQL document: {error.message}{hint}", "bad-graphql")
            return
        except ValueError as error:
            yield KeyProblem("query", str(error), "bad-graphql")
            return
        declared = {variable.variable.name.value for variable in definition.variable_definitions or ()}
        for name in sorted(declared - keys.variables.keys()):
            yield KeyProblem("variables", f"'${name}' has no value; add it to 'variables:'", "missing-parameter")
        for name in (name for name in keys.variables if name not in declared):
            message = f"the document declares no variable '${name}'"
            yield KeyProblem(("variables", name), message, "unused-parameter", is_about_key=True)
        yield from check_headers(keys.headers)

    def check_source(self, keys: GraphQLSourceKeys) -> Iterator[KeyProblem]:
        """Yield the problems of the URL and the headers."""
        if message := url_mistake(keys.url):
            yield KeyProblem("url", message, "bad-url")
        elif message := egress_mistake(keys.url, keys.egress):
            yield KeyProblem("url", message, "private-address")
        yield from check_headers(keys.headers)

    def check_files(self, keys: GraphQLSourceKeys, folder: str) -> Iterator[KeyProblem]:
        """Yield the problem of the file of authorities."""
        yield from check_tls(keys.tls, folder)

    def advise_source(self, keys: GraphQLSourceKeys) -> Iterator[KeyProblem]:
        """Yield a warning when plain HTTP leaves this machine, or certificates are not verified."""
        yield from advise_url("url", keys.url)
        yield from advise_tls(keys.tls)

    def is_idempotent(self, keys: GraphQLKeys) -> bool:
        """Tell whether the document is a query, not a mutation."""
        return _parse_operation(keys.query).operation is OperationType.QUERY

    def takes_selection(self, keys: GraphQLKeys) -> bool:
        """Tell whether the client's selection goes under the leaf field: not if the document is invalid or has a selection there."""
        try:
            return _leaf_field(_parse_operation(keys.query)).selection_set is None
        except (GraphQLError, ValueError):
            return False

    def describe(self, keys: GraphQLKeys) -> str:
        """Return the document on one line."""
        return " ".join(keys.query.split())

    def connect(self, source: Source) -> AbstractAsyncContextManager[Transport]:
        """Open the connection pool of a source."""
        keys = source.keys
        assert isinstance(keys, GraphQLSourceKeys)
        url = urlsplit(keys.url)
        return open_pool(self._transports, f"{url.scheme}://{url.netloc}", source)

    def call(self, step: Step, connection: Transport) -> Call:
        """Return a call that queries one field of the upstream."""
        keys, source = step.keys, step.source
        assert isinstance(keys, GraphQLKeys)
        assert source is not None
        assert isinstance(source.keys, GraphQLSourceKeys)
        path = encode_path(urlsplit(source.keys.url).path) or "/"
        definition = _parse_operation(keys.query)
        field = _leaf_field(definition)
        key = field.alias.value if field.alias else field.name.value
        document = print_ast(definition)
        # Printed once: each call only inserts the selection before the closing brace.
        prefix = document.rstrip().removesuffix("}").rstrip()
        constant = (*constant_headers(keys.headers, source.keys.headers), ("content-type", "application/json"))
        leaf_has_type = step.returns.strip("[]!") not in _SCALARS
        sends_deadline, max_values = source.keys.send_deadline, source.keys.max_response_values
        is_stored = keys.cache is not None or any(fallback.stale_ms for fallback in keys.fallback)

        async def send(inputs: Inputs, context: CallContext) -> Reply:
            selection = inputs.get("selection", "") if leaf_has_type else ""
            query = f"{prefix} {selection}\n}}" if selection else document
            body = encode({"query": query, "variables": inputs["variables"]})
            headers = [*constant, *encode_headers(inputs["headers"]), *context.trace_headers]
            if sends_deadline:
                headers.append(deadline_header(context, step.timeout))
            response = await connection.send(UpstreamRequest("POST", path, headers, body, step.is_idempotent))
            if not 200 <= response.status < 300:
                raise status_fault(response)
            value, error_paths, error_detail = read_response(await decode(response, max_values), key)
            max_age, is_private = freshness(response.headers) if is_stored else (None, False)
            return Reply(value, response.status, len(response.body), max_age, is_private, error_paths, error_detail)

        return send

    def mock_call(self, step: Step, upstream: MockUpstream) -> Call:
        """Return the call over a mocked transport, which sends nothing; a mocked value is the value of the field."""
        assert isinstance(step.keys, GraphQLKeys)
        field = _leaf_field(_parse_operation(step.keys.query))
        key = field.alias.value if field.alias else field.name.value
        return self.call(step, StandInTransport(upstream, lambda value: {"data": {key: value}}))


_SCALARS = {"ID", "String", "Int", "Float", "Boolean", "JSON"}


def _parse_operation(text: str) -> OperationDefinitionNode:
    """Parse a document and return its only operation.

    :raises GraphQLError: the text is not a GraphQL document.
    :raises ValueError: there is not exactly one operation, or it does not have exactly one field.
    """
    document: DocumentNode = parse(text, no_location=True)
    definitions = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(definitions) != 1 or len(document.definitions) != 1:
        raise ValueError("a graphql step has one operation and no fragments")
    selections = definitions[0].selection_set.selections
    if len(selections) != 1 or not isinstance(selections[0], FieldNode):
        raise ValueError("a graphql step asks for one field, under which the client's selection goes")
    return definitions[0]


def _leaf_field(definition: OperationDefinitionNode) -> FieldNode:
    """Return the only field of an operation."""
    field = definition.selection_set.selections[0]
    assert isinstance(field, FieldNode)
    return field
