"""Exceptions of the endpoints beside ``/graphql`` → responses with errors in the JSON form of GraphQL."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import Code, RequestError
from gateway.serve.http.media_types import JSON
from gateway.serve.http.response import INTERNAL_ERROR_BODY, error_body, errors_body


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}.get(error.status_code, Code.BAD_REQUEST)
    return Response(error_body(code, error.detail), error.status_code, error.headers, JSON)


async def _request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return Response(errors_body(error), error.status, media_type=JSON)


async def _internal_error(_: Request, error: Exception) -> Response:
    return Response(INTERNAL_ERROR_BODY, 500, media_type=JSON)  # Starlette raises it again, and GatewayApp logs it


ERROR_HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _http_error,
    RequestError: _request_error,
    Exception: _internal_error,
}
"""Handlers by class of exception, for Starlette applications."""
