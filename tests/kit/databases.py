"""Real databases for tests: an SQLite file, a DuckDB file, or a new PostgreSQL database that is dropped afterwards.

The PostgreSQL server is that of `STEPGRAPH_TEST_POSTGRESQL` (a URL whose user may create databases), or the local one. Without a server
its tests are skipped; with `CI` set they fail.
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
from tests.kit.workers import WORKER

SERVER = os.environ.get("STEPGRAPH_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres")
T = TypeVar("T")


async def on_server(url: str, *statements: str) -> list[Any]:
    """Run statements in order and return the rows of the last."""
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
    """Create a PostgreSQL database, run statements in it, yield its URL, and drop it."""
    name = f"stepgraph_{WORKER}_{uuid.uuid4().hex[:12]}"
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
    """Create a database of a kind, run statements in it, and yield its URL."""
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
    """Return a configuration with operations and one warehouse source."""
    keys = "".join(f", {name}: {value}" for name, value in source.items())
    return f"sources:\n  db: {{ type: warehouse, url: '{url}'{keys} }}\ndefaults: {{ warehouse: db }}\n---\n{operations}"


@asynccontextmanager
async def opened(folder: Path, texts: Mapping[str, str]) -> Any:
    """Open a generation built from configuration texts by file name."""
    blueprint = build(Files(folder, dict(texts), (), "test"), STEP_TYPES, {})
    async with open_generation(blueprint, STEP_TYPES, is_development=True) as generation:
        yield generation


async def ask(generation: Generation, query: str, **variables: object) -> dict[str, Any]:
    """Answer one request with an open generation."""
    context = RequestContext("test", {}, asyncio.get_running_loop().time())
    return dict(await generation.answer(GraphQLRequest(query, None, variables), context))


def answer(folder: Path, texts: Mapping[str, str], query: str, **variables: object) -> dict[str, Any]:
    """Open a generation, answer one request, and close it."""

    async def once() -> dict[str, Any]:
        async with opened(folder, texts) as generation:
            return await ask(generation, query, **variables)

    return run_with_timeout(once())


def run_with_timeout(coroutine: Coroutine[Any, Any, T], seconds: float = 30) -> T:
    """Run a coroutine with a timeout, so that a test that hangs fails."""

    async def timed() -> T:
        async with asyncio.timeout(seconds):
            return await coroutine

    return asyncio.run(timed())


def code(body: Mapping[str, Any]) -> str | None:
    """Return the code of the first error."""
    errors = body.get("errors")
    return errors[0]["extensions"]["code"] if errors else None


def assert_threads(limit: int) -> None:
    """Wait until there are at most ``limit`` threads; a thread that is ending needs a moment."""
    deadline = time.monotonic() + 5
    while threading.active_count() > limit and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= limit
