"""Fixtures for tests of faulty upstreams: gateways in front of one, over each transport."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from resolvers.json_http import TRANSPORTS
from tests.faults import Json, refused_port
from tests.faults.graph import GRAPH, TABLES
from tests.faults.served import Served
from tests.kit.serving import Stage


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Return the name of the transport of the sources."""
    return str(request.param)


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Start gateways with the ``CONFIG`` of the module; the upstream answers ``/quick``."""
    sources = f"base_url: UPSTREAM, transport: {transport}"
    config = {name: text.replace("base_url: UPSTREAM", sources) for name, text in request.module.CONFIG.items()}
    with Stage(tmp_path_factory.mktemp("stage"), config) as opened:
        opened.upstream.script("/quick", Json("quick"))
        yield opened


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the graph of the cases in a separate process, in production mode; the upstream answers ``/quick``."""
    folder = tmp_path_factory.mktemp("served")
    config = {name: text.replace("NOBODY", str(refused_port())) for name, text in GRAPH.items()}
    (folder / "config").mkdir()
    with closing(sqlite3.connect(folder / "config" / "data.db")) as database:
        database.executescript(TABLES)
    with Served(folder, config) as opened:
        opened.upstream.script("/quick", Json("quick"))
        yield opened


@pytest.fixture(scope="session")
def served_in_development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a small part of the graph with ``--dev``."""
    folder = tmp_path_factory.mktemp("served-in-development")
    config = {"graph.yaml": "operation: constant\nsteps: [ { name: one, type: value, value: 1 } ]\n"}
    with Served(folder, config, ["--dev"]) as opened:
        yield opened
