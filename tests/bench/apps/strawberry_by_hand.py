"""What one writes by hand with Strawberry, httpx and DataLoader, users batched. `python -m tests.bench.apps.strawberry_by_hand`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

Context = dict[str, Any]
Info = strawberry.Info[Context, None]
CLIENT = httpx.AsyncClient(base_url=os.environ.get("UPSTREAM", "http://127.0.0.1"), limits=httpx.Limits(max_connections=256))


async def get(path: str) -> Any:
    """Return the JSON of an upstream path."""
    return (await CLIENT.get(path)).json()


@strawberry.type
class User:
    """A user."""

    id: int
    name: str
    username: str
    email: str


@strawberry.type
class Post:
    """A post and its user."""

    id: int
    userId: int  # noqa: N815 - the upstream's name
    title: str
    body: str

    @strawberry.field
    async def user(self, info: Info) -> User | None:
        """Return the user, from one call for all posts."""
        loader: DataLoader[int, User | None] = info.context["users"]
        return await loader.load(self.userId)


@strawberry.type
class Thing:
    """A small object."""

    id: int
    name: str
    size: int


async def users_by_id(ids: list[int]) -> list[User | None]:
    """Return users in the order of their ids."""
    users = await get("/users?" + "&".join(f"id={key}" for key in ids))
    found = {user["id"]: User(**{name: user[name] for name in ("id", "name", "username", "email")}) for user in users}
    return [found.get(key) for key in ids]


@strawberry.type
class Query:
    """The fields that are measured."""

    @strawberry.field
    async def posts(self) -> list[Post]:
        """Return all posts."""
        return [Post(**post) for post in await get("/posts")]

    @strawberry.field
    async def feed(self, n: int) -> list[Post]:
        """Return all posts by a call that is like no other."""
        return [Post(**post) for post in await get(f"/posts?n={n}")]

    @strawberry.field
    async def thing(self, id: int) -> Thing:  # noqa: A002 - the field's name
        """Return a small object."""
        return Thing(**await get(f"/things/{id}"))

    @strawberry.field
    def version(self) -> str:
        """Return a constant."""
        return "1.0"


class App(GraphQL[Context, None]):
    """The view, with a loader for each request."""

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """Return the context of a request."""
        return {"users": DataLoader(load_fn=users_by_id)}


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Close the client at the end."""
    async with CLIENT:
        yield


def main() -> None:
    """Serve on 127.0.0.1 and the port of the environment."""
    schema = strawberry.Schema(Query, config=StrawberryConfig(auto_camel_case=False), extensions=[ParserCache, ValidationCache])
    app = Starlette(routes=[Route("/graphql", App(schema, graphql_ide=None))], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
