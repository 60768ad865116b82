"""A call to a demo service in, its delay and perhaps its 503 out; routes to watch and steer that."""

import asyncio
import json
import random
from dataclasses import asdict, dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from playground.demo.behaviours import Behaviour, change_behaviour, check_service


@dataclass(frozen=True, slots=True)
class Services:
    """What one app remembers: two mappings by service, both written to while it runs, and its chance."""

    behaviours: dict[str, Behaviour]
    calls: dict[str, int]
    chance: random.Random

    async def admit(self, service: str) -> None:
        """Count a call, take the service's time, and then raise its 503 if chance says so."""
        behaviour = self.behaviours[service]
        self.calls[service] += 1
        await asyncio.sleep(behaviour.delay_ms / 1000)
        if self.chance.random() < behaviour.failure_rate:
            raise unavailable(service)


def open_services(behaviours: dict[str, Behaviour]) -> Services:
    """Start services that nobody has called; which of their calls fail is the same in every run."""
    return Services(behaviours, dict.fromkeys(behaviours, 0), random.Random(0))


def unavailable(service: str) -> HTTPException:
    """Build the 503 of a service."""
    return HTTPException(503, f"{service} is unavailable")


def control_routes(services: Services) -> list[Route]:
    """Build the routes that show and change behaviours, and show and reset the counts of calls."""

    async def show_behaviours(_: Request) -> Response:
        return JSONResponse({service: asdict(behaviour) for service, behaviour in services.behaviours.items()})

    async def set_behaviour(request: Request) -> Response:
        service = _read_service(request)
        services.behaviours[service] = await _read_behaviour(request, services.behaviours[service])
        return JSONResponse(asdict(services.behaviours[service]))

    async def show_calls(_: Request) -> Response:
        return JSONResponse(services.calls)

    async def reset_calls(_: Request) -> Response:
        services.calls.update(dict.fromkeys(services.calls, 0))
        return Response(status_code=204)

    return [
        Route("/_behaviour", show_behaviours),
        Route("/_behaviour/{service}", set_behaviour, methods=["PUT"]),
        Route("/_calls", show_calls),
        Route("/_calls", reset_calls, methods=["DELETE"]),
    ]


def _read_service(request: Request) -> str:
    service: str = request.path_params["service"]
    try:
        check_service(service)
    except ValueError as problem:
        raise HTTPException(404, str(problem)) from problem
    return service


async def _read_behaviour(request: Request, current: Behaviour) -> Behaviour:
    try:
        change = json.loads(await request.body())
    except (
        ValueError,
        RecursionError,
    ) as problem:  # ValueError: neither JSON nor UTF-8; RecursionError: too deep
        raise HTTPException(400, "the body is not JSON") from problem
    try:
        return change_behaviour(current, change)
    except ValueError as problem:
        raise HTTPException(400, str(problem)) from problem
