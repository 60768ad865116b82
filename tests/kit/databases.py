"""Real databases for tests: an SQLite file, a DuckDB file, a PostgreSQL database of its own that is dropped afterwards.

PostgreSQL is the server of `STEPGRAPH_TEST_POSTGRESQL` (a url whose user may create databases), or the one on this machine. Where
none answers its tests are skipped, but never where `CI` is set.
"""

import asyncio
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import duckdb
import pytest

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.serve.generation.generation import Generation, open_generation
from resolvers import STEP_TYPES

SERVER = os.environ.get("STEPGRAPH_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres")
T = TypeVar("T")


async def on_server(url: str, *statements: str) -> list[Any]:
    """Run statements one after the other and return the rows of the last."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        rows: list[Any] = []
        for statement in statements:
            rows = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


@contextmanager
def postgresql(*statements: str) -> Iterator[str]:
    """Make a database, run statements in it, give its url, and drop it."""
    name = f"stepgraph_{uuid.uuid4().hex[:12]}"
    try:
        asyncio.run(on_server(SERVER, f'CREATE DATABASE "{name}"'))
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        reason = f"no PostgreSQL server that makes databases (STEPGRAPH_TEST_POSTGRESQL): {type(error).__name__}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    url = f"{SERVER.rpartition('/')[0]}/{name}"
    try:
        asyncio.run(on_server(url, *statements))
        yield url
    finally:
        asyncio.run(on_server(SERVER, f'DROP DATABASE "{name}" WITH (FORCE)'))


@contextmanager
def database(kind: str, folder: Path, *statements: str) -> Iterator[str]:
    """Make a database of a kind, run statements in it, and give its url."""
    if kind == "postgresql":
        with postgresql(*statements) as url:
            yield url
        return
    opened: Any = sqlite3.connect(folder / "test.db") if kind == "sqlite" else duckdb.connect(str(folder / "test.db"))
    with closing(opened):
        for statement in statements:
            opened.execute(statement)
        opened.commit()
    yield f"{kind}:///test.db"


def configuration(url: str, operations: str, **source: object) -> str:
    """Return operations over one warehouse."""
    keys = "".join(f", {name}: {value}" for name, value in source.items())
    return f"sources:\n  db: {{ type: warehouse, url: '{url}'{keys} }}\ndefaults: {{ warehouse: db }}\n---\n{operations}"


@asynccontextmanager
async def opened(folder: Path, texts: Mapping[str, str]) -> Any:
    """Open a generation of configuration texts by file name."""
    blueprint = build(Files(folder, dict(texts), (), "test"), STEP_TYPES, {})
    async with open_generation(blueprint, STEP_TYPES, is_development=True) as generation:
        yield generation


async def ask(generation: Generation, query: str, **variables: object) -> dict[str, Any]:
    """Answer one request."""
    context = RequestContext("test", {}, asyncio.get_running_loop().time())
    return dict(await generation.answer(GraphQLRequest(query, None, variables), context))


def answer(folder: Path, texts: Mapping[str, str], query: str, **variables: object) -> dict[str, Any]:
    """Open a generation for one request."""

    async def once() -> dict[str, Any]:
        async with opened(folder, texts) as generation:
            return await ask(generation, query, **variables)

    return in_time(once())


def in_time(coroutine: Coroutine[Any, Any, T], seconds: float = 30) -> T:
    """Run a coroutine; what hangs fails."""

    async def timed() -> T:
        async with asyncio.timeout(seconds):
            return await coroutine

    return asyncio.run(timed())


def code(body: Mapping[str, Any]) -> str | None:
    """Return the code of the first error."""
    errors = body.get("errors")
    return errors[0]["extensions"]["code"] if errors else None


def assert_threads(most: int) -> None:
    """Wait until there are no more threads than ``most``: one that was told to end takes a moment."""
    deadline = time.monotonic() + 5
    while threading.active_count() > most and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= most
