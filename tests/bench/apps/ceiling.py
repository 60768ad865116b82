"""The ceiling: the same answers by hand over the gateway's own client, with msgspec and nothing else. `python -m tests.bench.apps.ceiling`.

It knows no GraphQL, no limits, no failures and hardly any HTTP: it is what this stack takes at the least, in Python.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import orjson
import uvloop

from resolvers.transport.http1 import Http1Transport
from resolvers.transport.transport import Limits, UpstreamRequest

Variables = dict[str, Any]


class User(msgspec.Struct, gc=False):
    id: int
    name: str
    username: str
    email: str


class Post(msgspec.Struct, gc=False):
    id: int
    userId: int  # noqa: N815 - as it is answered
    title: str
    user: User | None = None


class Title(msgspec.Struct, gc=False):
    title: str


class Thing(msgspec.Struct, gc=False):
    id: int
    name: str


def decoder(kind: Any) -> Callable[[bytes], Any]:
    """Return what reads JSON of a type."""
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode
    return decode


POSTS, USERS, TITLES, THING = decoder(tuple[Post, ...]), decoder(tuple[User, ...]), decoder(tuple[Title, ...]), decoder(Thing)
encode = msgspec.json.Encoder().encode


class Cases:
    """The answers by name of case."""

    def __init__(self, upstream: str) -> None:
        self._transport = Http1Transport(upstream, Limits(2000, 5_000_000))

    async def get(self, path: str) -> bytes:
        """Return the body of a resource."""
        return (await self._transport.send(UpstreamRequest("GET", path, (), None, True))).body

    async def posts_with_users(self, path: str) -> tuple[Post, ...]:
        """Return the posts, each with its user: two calls."""
        posts: tuple[Post, ...] = POSTS(await self.get(path))
        ids = dict.fromkeys([post.userId for post in posts])
        users = {user.id: user for user in USERS(await self.get("/users?" + "&".join([f"id={key}" for key in ids])))}
        for post in posts:
            post.user = users[post.userId]
        return posts

    async def posts(self, _: Variables) -> object:
        """Answer the case of this name, like the functions below."""
        return {"posts": await self.posts_with_users("/posts")}

    async def feed(self, variables: Variables) -> object:
        return {"feed": await self.posts_with_users(f"/posts?n={variables['n']}")}

    async def titles(self, _: Variables) -> object:
        return {"posts": TITLES(await self.get("/posts"))}

    async def thin(self, variables: Variables) -> object:
        return {"thing": THING(await self.get(f"/things/{variables['id']}"))}

    async def version(self, _: Variables) -> object:
        return {"version": "1.0"}


class Connection(asyncio.Protocol):
    """A client that sends each request in one piece, or its head and its body apart."""

    def __init__(self, cases: Cases) -> None:
        self._cases: dict[str, Callable[[Variables], Awaitable[object]]] = {
            name: getattr(cases, name) for name in ("posts", "feed", "titles", "thin", "version")
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Answer a request; what it says in its head is of no interest."""
        _, end, body = data.partition(b"\r\n\r\n")
        if body or not end:
            self._task = self._loop.create_task(self._answer(orjson.loads(body or data)))

    async def _answer(self, asked: dict[str, Any]) -> None:
        case = self._cases[asked.get("operationName", "version")]
        body = encode({"data": await case(asked.get("variables", {}))})
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def main() -> None:
    """Serve on 127.0.0.1 and the port of the environment."""
    cases = Cases(os.environ["UPSTREAM"])
    server = await asyncio.get_running_loop().create_server(lambda: Connection(cases), "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
