"""The floor: the same answers by hand, with aiohttp on both sides and no GraphQL. `python -m tests.bench.apps.raw`."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

Get = Callable[[str], Awaitable[Any]]
Variables = dict[str, Any]
POST_FIELDS, USER_FIELDS, DELAYED_FIELDS = ("id", "userId", "title"), ("id", "name", "username", "email"), ("id", "name", "score")
CLIENT = web.AppKey("client", aiohttp.ClientSession)


def pick(value: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Return some fields of an object."""
    return {name: value[name] for name in fields}


async def posts_with_users(get: Get, path: str) -> list[dict[str, Any]]:
    """Return the posts, each with its user: two calls."""
    posts = await get(path)
    ids = dict.fromkeys(post["userId"] for post in posts)
    users = {user["id"]: pick(user, USER_FIELDS) for user in await get("/users?" + "&".join(f"id={key}" for key in ids))}
    return [{**pick(post, POST_FIELDS), "user": users[post["userId"]]} for post in posts]


async def posts(get: Get, _: Variables) -> dict[str, Any]:
    """Answer the case of this name, like the functions below."""
    return {"posts": await posts_with_users(get, "/posts")}


async def feed(get: Get, variables: Variables) -> dict[str, Any]:
    return {"feed": await posts_with_users(get, f"/posts?n={variables['n']}")}


async def titles(get: Get, _: Variables) -> dict[str, Any]:
    return {"posts": [pick(post, ("title",)) for post in await get("/posts")]}


async def thin(get: Get, variables: Variables) -> dict[str, Any]:
    return {"thing": pick(await get(f"/things/{variables['id']}"), ("id", "name"))}


async def version(_: Get, __: Variables) -> dict[str, Any]:
    return {"version": "1.0"}


async def customer360(get: Get, _: Variables) -> dict[str, Any]:
    names = ("account", "transactions", "fraud", "risk")
    paths = ("/after/30/accounts/42", "/after/50/transactions/42", "/after/20/fraud/42", "/after/5/risk/42")
    parts = await asyncio.gather(*(get(path) for path in paths))
    return {"customer360": {name: pick(part, DELAYED_FIELDS) for name, part in zip(names, parts, strict=True)}}


async def chain(get: Get, _: Variables) -> dict[str, Any]:
    first = await get("/after/30/1")
    second = await get(f"/after/20/{first['next']}")
    third = await get(f"/after/10/{second['next']}")
    names = ("first", "second", "third")
    return {"chain": {name: pick(part, DELAYED_FIELDS) for name, part in zip(names, (first, second, third), strict=True)}}


CASES = {case.__name__: case for case in (posts, feed, titles, thin, version, customer360, chain)}


async def answer(request: web.Request) -> web.Response:
    """Answer a request by the operation that it names."""
    asked = orjson.loads(await request.read())
    client = request.app[CLIENT]

    async def get(path: str) -> Any:
        async with client.get(path) as response:
            return orjson.loads(await response.read())

    case = CASES.get(asked.get("operationName", ""))
    data = await case(get, asked["variables"]) if case else None
    return web.Response(body=orjson.dumps({"data": data}), content_type="application/json")


async def upstream(app: web.Application) -> AsyncIterator[None]:
    """Keep a pool of connections to the upstream while the application runs."""
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(os.environ["UPSTREAM"], connector=connector) as client:
        app[CLIENT] = client
        yield


def main() -> None:
    """Serve on 127.0.0.1 and the port of the environment."""
    app = web.Application()
    app.cleanup_ctx.append(upstream)
    app.router.add_post("/graphql", answer)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
