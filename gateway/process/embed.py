"""Embed the gateway in another Python application: offer its schema as a Strawberry schema, for use with Strawberry's views.

Strawberry's ASGI, FastAPI, Django and Litestar views and its test clients accept any :class:`strawberry.schema.BaseSchema`; this one plans
and runs requests with the gateway. Only this module and :mod:`gateway.language.python_types` import Strawberry.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import strawberry
from graphql import GraphQLError, print_schema
from strawberry.schema.base import BaseSchema
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from gateway.contract import RequestContext, StepType
from gateway.contract.request import GraphQLRequest
from gateway.errors import Code, RequestError
from gateway.operate.serving import ServeOptions, serve_folder
from gateway.serve.generation.generation import Generation
from gateway.serve.http.headers import merge_headers
from resolvers import STEP_TYPES


@strawberry.type(name="Query")
class _Query:
    """A placeholder for the query type that Strawberry's protocol requires. The real one is graphql-core's, built from the configuration."""

    ok: bool = True


class EmbeddedSchema(BaseSchema):
    """A Strawberry schema over the active generation. Created by :func:`embedded_schema`."""

    def __init__(self, generation: Callable[[], Generation]) -> None:
        # The views read these attributes of the protocol; nothing is executed against the placeholder.
        placeholder = strawberry.Schema(query=_Query)
        self.config = placeholder.config
        self.schema_converter = placeholder.schema_converter
        self.query = placeholder.query
        self.mutation = self.subscription = None
        self.schema_directives = []
        self.exception_handlers = ()
        self._generation = generation

    async def execute(  # noqa: PLR0913, PLR0917 - Strawberry's signature
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Execute a query as the gateway's own endpoint does. The headers are those of the view's request, if the context has one."""
        # Strawberry's views exclude mutations for GET requests.
        is_read_only = allowed_operation_types is not None and OperationType.MUTATION not in allowed_operation_types
        wants_trace = (operation_extensions or {}).get("trace") is True
        request = GraphQLRequest(query or "", operation_name, variable_values or {}, wants_trace, is_read_only)
        try:
            context = RequestContext(uuid.uuid4().hex, _headers(context_value), asyncio.get_running_loop().time())
            body: dict[str, Any] = await self._generation().answer(request, context)
        except RequestError as error:
            return PreExecutionError(data=None, errors=[_graphql_error(formatted_error) for formatted_error in error.errors])
        errors = [_graphql_error(formatted_error) for formatted_error in body.get("errors", ())]
        return ExecutionResult(data=body["data"], errors=errors or None, extensions=body.get("extensions"))

    def execute_sync(self, query: str | None, *_: Any, **__: Any) -> ExecutionResult:
        """Refuse: steps are asynchronous, so the view must be too."""
        raise NotImplementedError("Stepgraph answers asynchronously; use an async view and 'await schema.execute(...)'")

    async def subscribe(self, query: str | None, *_: Any, **__: Any) -> Any:
        """Refuse: a configuration has no subscriptions."""
        raise RequestError(Code.BAD_REQUEST, 400, {"message": "Subscriptions are not supported."})

    async def stream(self, query: str | None, *_: Any, **__: Any) -> Any:
        """Refuse: responses are not incremental."""
        raise RequestError(Code.BAD_REQUEST, 400, {"message": "Streamed responses are not supported."})

    def get_type_by_name(self, name: str) -> None:
        """Return None: no type of a configuration is a Strawberry class."""

    def get_directive_by_name(self, graphql_name: str) -> None:
        """Return None: there are no Strawberry directives."""

    def as_str(self) -> str:
        """Return the schema as SDL."""
        return print_schema(self._generation().schema)


@asynccontextmanager
async def embedded_schema(folder: Path, *, step_types: Mapping[str, StepType] = STEP_TYPES) -> AsyncIterator[EmbeddedSchema]:
    """Load a configuration folder, reload it at each change, and yield it as a Strawberry schema while the context is open.

    :raises ConfigurationError: with all problems of the folder.
    """
    async with serve_folder(folder, step_types, ServeOptions(is_development=True)) as serving:

        def current() -> Generation:
            assert serving.generation is not None, "the context is open"
            return serving.generation

        yield EmbeddedSchema(current)


def _headers(context: object) -> Mapping[str, str]:
    request = context.get("request") if isinstance(context, Mapping) else getattr(context, "request", None)
    headers = getattr(request, "headers", None) or {}
    return merge_headers((str(name).lower(), str(value)) for name, value in headers.items())


def _graphql_error(formatted_error: Mapping[str, Any]) -> GraphQLError:
    """Convert an error of the gateway's response to graphql-core's type, with its path and extensions."""
    return GraphQLError(
        formatted_error["message"], path=formatted_error.get("path"), extensions=dict(formatted_error["extensions"])
    )
