"""HTTP requests in, JSON about the demo's customers and posts out, as slow and as faulty as asked.

    python -m playground.demo.upstream --port 9101 --delay accounts=200 --fail fraud=0.5

Nine services share one process; `/catalog/graphql` speaks GraphQL, the others REST. `/_calls` counts what was asked
of each, and `/_behaviour` shows and changes how they behave while they run.
"""

import json
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import FrameType
from typing import Annotated

import typer
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from playground.demo import data
from playground.demo.behaviours import DEFAULTS, Behaviour, check_service, parse_setting
from playground.demo.blog import POSTS, USERS, Post, User
from playground.demo.cases import CaseDesk
from playground.demo.catalog import Catalog
from playground.demo.services import Services, control_routes, open_services, unavailable

Lookup = Callable[[Request], object]  # gives what JSON can hold, or raises an HTTPException
Endpoint = Callable[[Request], Awaitable[Response]]

CUSTOMER_WITHOUT_FRAUD_SERVICE = "7"  # so that a newcomer meets a partial answer without breaking anything

cli = typer.Typer(add_completion=False)


def create_app(behaviours: Mapping[str, Behaviour] | None = None) -> Starlette:
    """Build the app; services left out keep their defaults, an unknown one is a ValueError."""
    chosen = behaviours or {}
    for service in chosen:
        check_service(service)
    services = open_services({**DEFAULTS, **chosen})
    return Starlette(
        routes=[*_service_routes(services), *control_routes(services)],
        exception_handlers={HTTPException: _answer_error},
    )


def _service_routes(services: Services) -> list[Route]:
    desk = CaseDesk()
    lookups: list[tuple[str, str, Lookup]] = [
        ("accounts", "/accounts/{customer_id}", _by_customer(data.describe_account)),
        ("transactions", "/transactions/{customer_id}", _by_customer(data.list_transactions)),
        ("fraud", "/fraud/signals/{customer_id}", _by_customer(_assess_fraud)),
        ("credit", "/credit/{tier}", _find_credit),
        ("cases", "/cases/{customer_id}", _by_customer(desk.list)),
        ("disputes", "/disputes/{customer_id}", _by_customer(data.list_disputes)),
        ("posts", "/posts", _list_posts),
        ("posts", "/posts/{post_id}", _find_post),
        ("users", "/users", _find_users),
        ("users", "/users/{user_id}", _find_user),
        ("posts", "/users/{user_id}/posts", _find_posts_of_user),
    ]
    return [
        *(Route(path, _serve(services, service, look_up)) for service, path, look_up in lookups),
        Route("/cases/{customer_id}", _open_cases(services, desk), methods=["POST"]),
        Route("/catalog/graphql", Catalog(services.admit)),
    ]


def _serve(services: Services, service: str, look_up: Lookup) -> Endpoint:
    async def answer(request: Request) -> Response:
        await services.admit(service)
        return JSONResponse(look_up(request))

    return answer


def _open_cases(services: Services, desk: CaseDesk) -> Endpoint:
    async def answer(request: Request) -> Response:
        await services.admit("cases")
        customer_id = _known_customer(request)
        subject = await _read_subject(request)
        return JSONResponse(desk.open(customer_id, subject, request.headers.get("idempotency-key")), 201)

    return answer


async def _read_subject(request: Request) -> str:
    try:
        subject = json.loads(await request.body())["subject"]
    except (ValueError, RecursionError, LookupError, TypeError):
        subject = None
    if not isinstance(subject, str) or not subject.strip():
        raise HTTPException(400, 'expected a JSON object with a "subject"')
    return subject


async def _answer_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def _by_customer(find: Callable[[str], object]) -> Lookup:
    return lambda request: find(_known_customer(request))


def _known_customer(request: Request) -> str:
    customer_id: str = request.path_params["customer_id"]
    if customer_id not in data.CUSTOMER_IDS:
        raise HTTPException(404, "no such customer")
    return customer_id


def _assess_fraud(customer_id: str) -> data.FraudSignals:
    if customer_id == CUSTOMER_WITHOUT_FRAUD_SERVICE:
        raise unavailable("fraud")
    return data.assess_fraud(customer_id)


def _find_credit(request: Request) -> data.Credit:
    for credit in data.CREDITS:
        if credit["tier"] == request.path_params["tier"]:
            return credit
    raise HTTPException(404, "no such tier")


def _list_posts(_: Request) -> list[Post]:
    return list(POSTS.values())


def _find_post(request: Request) -> Post:
    post = POSTS.get(request.path_params["post_id"])
    if post is None:
        raise HTTPException(404, "no such post")
    return post


def _find_users(request: Request) -> list[User]:
    """All users, or with `?id=1&id=2` those of these that exist, in the order of their ids."""
    wanted = request.query_params.getlist("id")
    return [user for user_id, user in USERS.items() if not wanted or user_id in wanted]


def _find_user(request: Request) -> User:
    user = USERS.get(request.path_params["user_id"])
    if user is None:
        raise HTTPException(404, "no such user")
    return user


def _find_posts_of_user(request: Request) -> list[Post]:
    author = _find_user(request)
    return [post for post in POSTS.values() if post["userId"] == author["id"]]


def read_settings(delays: list[str], failures: list[str]) -> dict[str, Behaviour]:
    """Apply delays (`accounts=200`) and failure rates (`fraud=0.5`) to the defaults; may raise ValueError."""
    behaviours = dict(DEFAULTS)
    for service, delay_ms in map(parse_setting, delays):
        behaviours[service] = replace(behaviours[service], delay_ms=delay_ms)
    for service, failure_rate in map(parse_setting, failures):
        behaviours[service] = replace(behaviours[service], failure_rate=failure_rate)
    return behaviours


@cli.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 takes a free one.")] = 9101,
    delay: Annotated[list[str] | None, typer.Option(help="Milliseconds, as accounts=200; repeatable.")] = None,
    fail: Annotated[list[str] | None, typer.Option(help="Share of 503s, as fraud=0.5; repeatable.")] = None,
) -> None:
    """Serve the demo's upstream services on 127.0.0.1 until Ctrl-C or SIGTERM."""
    try:
        behaviours = read_settings(delay or [], fail or [])
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from problem
    # uvicorn raises the signal that ended it once more at its end: these handlers make that a clean exit.
    signal.signal(signal.SIGTERM, _exit_cleanly)
    signal.signal(signal.SIGINT, _exit_cleanly)
    uvicorn.run(create_app(behaviours), host="127.0.0.1", port=port, access_log=False, timeout_graceful_shutdown=1)


def _exit_cleanly(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    cli()
