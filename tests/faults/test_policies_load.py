"""A hanging upstream with a thousand clients, and its effect on clients of another upstream (row U-15); run by ``pytest -m load``."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.faults import FaultServer, Hang, Json
from tests.kit.serving import serve_command, write_files

CONFIG = """
sources:
  a: { type: api, base_url: UPSTREAM, retry: { attempts: 1 }, breaker: { enabled: false } }
  b: { type: api, base_url: UPSTREAM }
---
operation: hanging
deadline_ms: 10000
steps: [ { name: call, type: api, source: a, endpoint: /hanging, timeout_ms: 8000 } ]
---
operation: quick
steps: [ { name: call, type: api, source: b, endpoint: /quick } ]
"""
CLIENTS, RATE, SECONDS = 1000, 50, 6
Ending = tuple[str, float]


def request(query: str) -> bytes:
    body = json.dumps({"query": query}).encode()
    return b"POST /graphql HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


async def ask(port: int, query: str) -> Ending:
    """Send a query on a new connection; return the error code, if any, and the seconds from the request to the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        began = time.perf_counter()
        writer.write(request(query))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        codes = [error["extensions"]["code"] for error in body.get("errors", [])]
        return "".join(codes), time.perf_counter() - began
    finally:
        writer.close()


async def measure_steady_load(port: int) -> list[float]:
    """Send requests to source B at a steady rate; return the 50th and 99th percentile of their seconds."""
    tasks = []
    for _ in range(RATE * SECONDS):
        tasks.append(asyncio.create_task(ask(port, "{ quick { call } }")))
        await asyncio.sleep(1 / RATE)
    endings = await asyncio.gather(*tasks)
    assert {code for code, _ in endings} == {""}
    took = sorted(seconds for _, seconds in endings)
    return [took[len(took) // 2], took[len(took) * 99 // 100]]


@pytest.mark.load
def test_a_thousand_clients_of_an_upstream_that_hangs_do_not_slow_those_of_another(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[float], list[float], list[Ending], int]:
        async with FaultServer() as upstream:
            upstream.script("/hanging", Hang())
            upstream.script("/quick", Json(1))
            folder = write_files(tmp_path / "config", {"graph.yaml": CONFIG.replace("UPSTREAM", upstream.url)})
            serving = serve_command(tmp_path, folder)
            process = await asyncio.to_thread(serving.__enter__)
            try:
                port = int(process.url.rpartition(":")[2])
                await measure_steady_load(port)
                baseline = await measure_steady_load(port)
                hanging = [asyncio.create_task(ask(port, "{ hanging { call } }")) for _ in range(CLIENTS)]
                await asyncio.sleep(1)
                sockets = sum(one.closed_at is None and one.requests[0].path == "/hanging" for one in upstream.connections)
                beside = await measure_steady_load(port)
                return baseline, beside, await asyncio.gather(*hanging), sockets
            finally:
                await asyncio.to_thread(serving.__exit__, None, None, None)

    baseline, beside, hanging, sockets = asyncio.run(scenario())
    message = f"B p50, p99 alone: {baseline}; beside: {beside}"
    refused = [seconds for code, seconds in hanging if code == "REQUEST_LIMIT_EXCEEDED"]
    assert len(refused) == CLIENTS - 100, "the queue's 100 wait until its own timeout"
    assert sorted(refused)[: CLIENTS - 200][len(refused) // 2] < 1.0
    assert sockets <= 100
    assert beside[1] < 2 * baseline[1] + 0.005, message
