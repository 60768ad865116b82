"""What the tests of faulty upstreams share: gateways in front of one, over each transport."""

from collections.abc import Iterator

import pytest

from resolvers.json_http import TRANSPORTS
from tests.serving import Stage

from . import Json


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Name the transport of the sources."""
    return str(request.param)


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Open gateways over the module's ``CONFIG``; the upstream answers ``/quick``."""
    sources = f"base_url: UPSTREAM, transport: {transport}"
    config = {name: text.replace("base_url: UPSTREAM", sources) for name, text in request.module.CONFIG.items()}
    with Stage(tmp_path_factory.mktemp("stage"), config) as opened:
        opened.upstream.script("/quick", Json("quick"))
        yield opened
