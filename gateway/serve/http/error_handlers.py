"""What pages beside GraphQL raise → errors in JSON, as everything here has them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import Code, RequestError
from gateway.serve.http.response import UNEXPECTED


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}.get(error.status_code, Code.BAD_REQUEST)
    body = {"errors": [{"message": error.detail, "extensions": {"code": str(code)}}]}
    return JSONResponse(body, error.status_code, error.headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse({"errors": error.errors}, error.status)


async def _failed(_: Request, error: Exception) -> Response:
    return Response(UNEXPECTED, 500, media_type="application/json")  # it is raised again, and logged by who gets it


ERROR_HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _http_error,
    RequestError: _refused,
    Exception: _failed,
}
"""By class of exception, for Starlette applications."""
