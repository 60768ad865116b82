"""The repository's examples in front of the demo's upstream: as `make demo` runs them, or in this process with all calls recorded."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

import httpx
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.demo import lake, warehouse
from playground.demo.behaviours import DEFAULTS, Behaviour
from playground.demo.upstream import create_app
from tests.kit.paths import CHECKOUT
from tests.kit.serving import Gateway, free_port, listening, serving, wait_until

EXAMPLES = CHECKOUT / "schema_configs"


def copy_examples(root: Path) -> Path:
    """Copy the examples to a new folder, with a link to `playground` so that relative paths to the demo's data work."""
    folder = root / "schema_configs"
    shutil.copytree(EXAMPLES, folder)
    (root / "playground").symlink_to(CHECKOUT / "playground")
    return folder


@contextmanager
def running_demo(folder: Path) -> Iterator[tuple[str, str]]:
    """Run the demo as the README does, on free ports; yield its URL and that of the upstream."""
    port, upstream = free_port(), free_port()
    command = [sys.executable, "-m", "gateway", "demo", str(folder), "--port", str(port), "--upstream-port", str(upstream)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _is_ready(url), "the demo is up", 20)
            yield url, f"http://127.0.0.1:{upstream}"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


class RecordedCalls:
    """ASGI middleware that records each request, such as `GET /users?id=1`, with the body of a POST, and passes it on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.calls: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record a request and pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.calls.append(f"{request.method} {target} {body.decode()}".rstrip())

        # The body was consumed above: the app receives it as one message.
        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


@asynccontextmanager
async def serving_examples(folder: Path) -> AsyncIterator[tuple[Gateway, RecordedCalls]]:
    """Serve a copy of the examples in front of the demo's upstream, over sockets; yield the gateway and the upstream's recorded calls."""
    recorded = RecordedCalls(create_app({service: Behaviour(delay_ms=0) for service in DEFAULTS}))
    warehouse.seed(warehouse.DEFAULT_PATH)
    lake.seed(lake.DEFAULT_FOLDER)
    async with listening(recorded) as url:
        with patch.dict(os.environ, UPSTREAM_URL=url):
            async with serving(folder) as gateway:
                yield gateway, recorded
