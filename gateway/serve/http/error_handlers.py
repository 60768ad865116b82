"""What pages beside GraphQL raise → errors in JSON, as everything here has them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import Code, RequestError
from gateway.serve.http.media_types import JSON
from gateway.serve.http.response import UNEXPECTED, error_text, errors_text


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}.get(error.status_code, Code.BAD_REQUEST)
    return Response(error_text(code, error.detail), error.status_code, error.headers, JSON)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return Response(errors_text(error), error.status, media_type=JSON)


async def _failed(_: Request, error: Exception) -> Response:
    return Response(UNEXPECTED, 500, media_type=JSON)  # it is raised again, and logged by who gets it


ERROR_HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _http_error,
    RequestError: _refused,
    Exception: _failed,
}
"""By class of exception, for Starlette applications."""
