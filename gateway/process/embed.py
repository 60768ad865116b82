"""The gateway inside another Python application: its schema as a Strawberry schema, which mounts wherever Strawberry's views do.

Strawberry's ASGI, FastAPI, Django and Litestar views and its test clients take any :class:`strawberry.schema.BaseSchema`; this one plans and
runs with the gateway. Only this module and :mod:`gateway.language.python_types` know Strawberry.
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
from resolvers import STEP_TYPES


@strawberry.type(name="Query")
class _Query:
    """What the protocol wants to see as the query type; the real one is graphql-core's, made from the configuration."""

    ok: bool = True


class EmbeddedSchema(BaseSchema):
    """A Strawberry schema over the generation that answers now. Made by :func:`embedded_schema`."""

    def __init__(self, generation: Callable[[], Generation]) -> None:
        stand_in = strawberry.Schema(query=_Query)
        self.config = stand_in.config
        self.schema_converter = stand_in.schema_converter
        self.query = stand_in.query
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
        """Answer a query as the gateway's own endpoint would; headers are taken from the view's request, if it gives one."""
        is_read_only = allowed_operation_types is not None and OperationType.MUTATION not in allowed_operation_types
        wants_trace = (operation_extensions or {}).get("trace") is True
        request = GraphQLRequest(query or "", operation_name, variable_values or {}, wants_trace, is_read_only)
        context = RequestContext(uuid.uuid4().hex, _headers(context_value), asyncio.get_running_loop().time())
        try:
            body: dict[str, Any] = await self._generation().answer(request, context)
        except RequestError as error:
            return PreExecutionError(data=None, errors=[_error(told) for told in error.errors])
        errors = [_error(told) for told in body.get("errors", ())]
        return ExecutionResult(data=body["data"], errors=errors or None, extensions=body.get("extensions"))

    def execute_sync(self, query: str | None, *_: Any, **__: Any) -> ExecutionResult:
        """Refuse: steps are awaited, so a view has to be an asynchronous one."""
        raise NotImplementedError("Stepgraph answers asynchronously; use an async view and 'await schema.execute(...)'")

    async def subscribe(self, query: str | None, *_: Any, **__: Any) -> Any:
        """Refuse: a configuration has no subscriptions."""
        raise RequestError(Code.BAD_REQUEST, 400, {"message": "Subscriptions are not supported."})

    async def stream(self, query: str | None, *_: Any, **__: Any) -> Any:
        """Refuse: an answer goes out whole."""
        raise RequestError(Code.BAD_REQUEST, 400, {"message": "Streamed answers are not supported."})

    def get_type_by_name(self, name: str) -> None:
        """Return nothing: no type of a configuration is a Strawberry class."""

    def get_directive_by_name(self, graphql_name: str) -> None:
        """Return nothing: there are no Strawberry directives."""

    def as_str(self) -> str:
        """Return the schema as SDL."""
        return print_schema(self._generation().schema)


@asynccontextmanager
async def embedded_schema(folder: Path, *, step_types: Mapping[str, StepType] = STEP_TYPES) -> AsyncIterator[EmbeddedSchema]:
    """Load a configuration folder, follow its changes, and offer it as a Strawberry schema for as long as the context lasts.

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
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _error(told: Mapping[str, Any]) -> GraphQLError:
    """Return an error of the gateway's as graphql-core's type, with its path and extensions."""
    return GraphQLError(told["message"], path=told.get("path"), extensions=dict(told["extensions"]))
