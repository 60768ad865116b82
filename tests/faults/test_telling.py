"""Telemetry of a real process: one log line for each request and each failed step, and counters that equal the answers (T-01, L-02)."""

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.operate.admin import bind_worker_port
from tests.faults import Behaviour, CloseWithoutAnswer, FaultServer, Garbage, Hang, Html, Json, Status
from tests.kit.serving import Process, free_port, run_command, serve_command, wait_until, write_files

CANARIES = {
    "TOKEN": "canary-token-f00dfeed",
    "DB_PASSWORD": "canary-password-f00dfeed",
    "UNUSED": "canary-environment-f00dfeed",
}
HEADER, ARGUMENT, VARIABLE = "canary-header-f00dfeed", "canary-argument-f00dfeed", "canary-variable-f00dfeed"
NUMBER = 48151623
"""The value of an argument that is declared sensitive. It is too short to be masked for its length alone."""

CONFIG = {
    "graph.yaml": """
sources:
  core:
    type: api
    base_url: UPSTREAM
    headers: { authorization: "Bearer ${TOKEN}", x-user: "{request.headers.x-user?}" }
    retry: { attempts: 2, base_ms: 1, cap_ms: 1, errors: [503], budget_min: 100 }
    breaker: { enabled: false }
  vault: { type: warehouse, url: "postgresql://reader:${DB_PASSWORD}@127.0.0.1:{PORT}/vault" }
defaults: { api: core }
---
operation: call
args: { path: ID!, secret: { type: Int, sensitive: true } }
steps:
  - { name: one, type: api, endpoint: "/{path}", query: { secret: "{secret?}" }, timeout_ms: 1000 }
  - { name: two, type: api, endpoint: "/{path}", headers: { x-two: "{path}" }, fallback: [ { value: 2 } ], timeout_ms: 1000 }
---
operation: post
args: { text: String! }
steps: [ { name: sent, type: api, method: POST, endpoint: /echo, body: { text: "{text}" } } ]
---
operation: several
steps:
  - { name: computed, type: transform, select: "abs('x')" }
  - { name: list, type: value, value: [ { id: 1 }, { id: 2 }, { id: 3 } ], returns: "[Item]" }
  - { name: wrong, type: value, value: { id: { a: 1 } }, returns: Item }
  - { name: stored, type: warehouse, source: vault, query: SELECT 1 AS one, timeout_ms: 300 }
---
field: Item.more
returns: String
step: { type: api, endpoint: "/broken/{parent.id}" }
---
telemetry: { access_log: all, log_level: debug }
---
limits: { trace: true }
""",
    "types.graphql": "type Item { id: ID }",
}


@dataclass(slots=True)
class Echo:
    """Fail with everything that was sent in the body of the response, as careless services do."""

    async def answer(self, exchange: Any) -> None:
        request = exchange.request
        echo = f"{request.method} {request.target} {request.headers} {request.body!r} and again {bytes(request.body)!r}"
        await exchange.reply(500, {"content-type": "text/plain"}, echo.encode())


FAULTS: dict[str, Behaviour] = {
    "down": Status(503, b"down"),
    "hang": Hang(),
    "html": Html("<html>"),
    "garbage": Garbage(),
    "closed": CloseWithoutAnswer(),
    "fine": Json({"a": 1}),
}


@dataclass(slots=True)
class Observed:
    """All responses of a gateway process and all its telemetry."""

    answers: dict[str, Any] = field(default_factory=dict)
    """Response bodies by request id."""
    lines: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    everything: dict[str, str] = field(default_factory=dict)
    """All outputs as text, by their source."""

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    return asyncio.run(collect(tmp_path_factory.mktemp("telemetry")))


async def collect(folder: Path) -> Observed:
    observed, admin = Observed(), free_port()
    async with FaultServer() as upstream:
        for name, behaviour in FAULTS.items():
            upstream.script(f"/{name}", behaviour)
        for path in ("echo", f"{ARGUMENT}", *(f"broken/{number}" for number in (1, 2, 3))):
            upstream.script(f"/{path}", Echo())
        files = {
            name: text.replace("UPSTREAM", upstream.url).replace("{PORT}", str(free_port())) for name, text in CONFIG.items()
        }
        config = write_files(folder / "config", files)
        with serve_command(folder, config, "--admin-port", str(admin), **CANARIES) as process:
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                await send_requests(observed, process.url, client)
                await leave(process.url)
                await read_admin_listener(observed, f"http://127.0.0.1:{admin}", client)
            observed.everything["status"] = str(process.stop())
            observed.everything |= {"stderr": process.stderr, "stdout": process.stdout}
        observed.lines = [json.loads(line) for line in process.stderr.splitlines()]
        run_commands(observed, folder, config)
    return observed


async def send_requests(observed: Observed, url: str, client: httpx.AsyncClient) -> None:
    asked: list[tuple[str, str, dict[str, Any] | None]] = [
        (f"{name}-{index}", f'{{ call(path: "{name}") {{ one two }} }}', None) for name in FAULTS for index in range(2)
    ]
    asked += [
        ("echo", f'{{ call(path: "{ARGUMENT}", secret: {NUMBER}) {{ one two }} }}', None),
        ("posted", "query($text: String!) { post(text: $text) { sent } }", {"text": VARIABLE}),
        ("several", "{ several { computed list { id more } wrong { id } stored } }", None),
        ("dots", '{ call(path: "..") { one } }', None),
        ("null", "query($p: ID!) { call(path: $p) { one } }", {"p": None}),
        ("invalid", "{ nothing }", None),
        ("literal", f'{{ call(path: "fine", secret: "{NUMBER}") {{ one }} }}', None),
        ("variable", "query($s: Int) { call(path: 1, secret: $s) { one } }", {"s": f"{NUMBER}"}),
        ("unparsed", "{", None),
        ("traced", f'{{ call(path: "fine", secret: {NUMBER}) {{ one two }} }}', None),
    ]
    for request_id, query, variables in asked:
        headers = {"x-request-id": request_id, "x-user": HEADER, "accept": "application/graphql-response+json"}
        headers |= {"x-stepgraph-trace": "1"} if request_id == "traced" else {}
        response = await client.post(f"{url}/graphql", json={"query": query, "variables": variables}, headers=headers)
        observed.answers[request_id] = response.json()
        observed.everything[f"answer {request_id}"] = response.text + str(response.headers)
    for path in ("/metrics", "/admin", "/admin/config", "/explain", "/docs", "/status", "/playground/runs"):
        response = await client.get(url + path)
        observed.everything[f"{response.status_code} {path}"] = response.text


async def leave(url: str) -> None:
    """Send a query and close the connection before there is a response."""
    body = b'{"query": "{ call(path: \\"hang\\") { one } }"}'
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\nx-request-id: gone\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    writer.write(f"{head}\r\n\r\n".encode() + body)
    await asyncio.sleep(0.1)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    await asyncio.sleep(0.1)


async def read_admin_listener(observed: Observed, admin: str, client: httpx.AsyncClient) -> None:
    for path in ("/metrics", "/admin/config"):
        observed.everything[path] = (await client.get(admin + path)).text
    for family in text_string_to_metric_families(observed.everything["/metrics"]):
        for sample in family.samples:
            observed.metrics[sample.name, tuple(sorted(sample.labels.items()))] = sample.value


def run_commands(observed: Observed, folder: Path, config: Path) -> None:
    query = folder / "query.graphql"
    query.write_text(f'{{ call(path: "x", secret: {NUMBER}) {{ one two }} }}', "utf-8")
    shown = [["plan", str(config), str(query), "--format", form] for form in ("tree", "json")]
    for arguments in (*shown, ["blueprint", str(config)], ["schema", str(config)], ["check", str(config), "--lint"]):
        done = run_command(*arguments, **CANARIES)
        assert done.returncode == 0, done.stderr
        observed.everything[" ".join(arguments[:1] + arguments[3:])] = done.stdout + done.stderr


def failed_steps(answer: Any) -> set[tuple[str, str, str]]:
    """Return operation, step and code of every failed step in an answer, including those with a fallback."""
    report = answer.get("extensions", {}).get("completeness", {"missing": [], "degraded": []})
    return {(entry["operation"], entry["step"], entry["reason"]) for entry in (*report["missing"], *report["degraded"])}


def test_each_failed_step_has_exactly_one_line_with_everything_in_it(observed: Observed) -> None:
    lines = observed.of("step failed")
    for request_id, answer in observed.answers.items():
        of_request = [(line["operation"], line["step"], line["code"]) for line in lines if line["request_id"] == request_id]
        assert sorted(of_request) == sorted(failed_steps(answer)), request_id
    assert {line["request_id"] for line in lines} <= observed.answers.keys()
    assert {len(failed_steps(observed.answers[name])) for name in ("down-0", "hang-1", "several")} == {2, 4}
    for line in lines:
        assert {"timestamp", "level", "duration_ms", "attempts", "detail"} <= line.keys()
        assert re.fullmatch("[0-9a-f]{16}", line["config_version"])
        assert line["detail"]
        assert line["duration_ms"] >= 0


def test_a_line_tells_how_often_and_how_long_a_step_was_tried(observed: Observed) -> None:
    lines = {(line["request_id"], line["step"]): line for line in observed.of("step failed")}
    assert lines["down-0", "one"]["attempts"] == 2
    assert lines["dots", "one"]["attempts"] == 1
    assert 990 <= lines["hang-0", "one"]["duration_ms"] < 10_000
    assert lines["several", "Item.more"]["attempts"] == 1, "those of the call that failed first"
    assert lines["down-0", "one"]["detail"] == "503 •••", "an argument of it is sensitive"
    assert "status 503" in lines["down-0", "two"]["detail"]


def test_each_request_has_exactly_one_line(observed: Observed) -> None:
    lines = [line for line in observed.of("request") if line["path"] == "/graphql"]
    assert Counter(line["request_id"] for line in lines) == Counter([*observed.answers, "gone"])
    by_id = {line["request_id"]: line for line in lines}
    for request_id, answer in observed.answers.items():
        codes = Counter(error["extensions"]["code"] for error in answer.get("errors", ()))
        assert by_id[request_id]["errors"] == codes
        assert by_id[request_id]["method"] == "POST"
        assert by_id[request_id]["duration_ms"] > 0
    assert (by_id["fine-0"]["outcome"], by_id["fine-0"]["operations"], by_id["fine-0"]["status"]) == ("ok", ["call"], 200)
    assert (by_id["down-0"]["outcome"], by_id["invalid"]["outcome"], by_id["invalid"]["status"]) == ("partial", "refused", 400)


def test_a_client_that_has_left_is_a_request_of_the_status_499(observed: Observed) -> None:
    (line,) = [line for line in observed.of("request") if line["request_id"] == "gone"]
    assert (line["status"], line["outcome"], line["operations"], line["level"]) == (499, "left", ["call"], "warning")
    assert observed.metrics["stepgraph_requests_total", (("outcome", "left"), ("status", "499"))] == 1


def test_counters_equal_what_was_answered(observed: Observed) -> None:
    codes = Counter(error["extensions"]["code"] for answer in observed.answers.values() for error in answer.get("errors", ()))
    counted = {labels[0][1]: value for (name, labels), value in observed.metrics.items() if name == "stepgraph_errors_total"}
    assert counted == codes
    lines = Counter((line["outcome"], str(line["status"])) for line in observed.of("request") if line["path"] == "/graphql")
    requests = {
        (labels[0][1], labels[1][1]): value
        for (name, labels), value in observed.metrics.items()
        if name == "stepgraph_requests_total"
    }
    assert requests == lines
    assert observed.metrics["stepgraph_request_duration_seconds_count", ()] == sum(lines.values())
    assert observed.metrics["stepgraph_requests_open", ()] == 0


def test_steps_are_counted_by_how_they_ended_and_by_what_stood_in_for_them(observed: Observed) -> None:
    failures = Counter(
        ("call", step, code) for answer in observed.answers.values() for op, step, code in failed_steps(answer) if op == "call"
    )
    ends = {
        (labels[0][1], labels[2][1], labels[1][1]): value
        for (name, labels), value in observed.metrics.items()
        if name == "stepgraph_step_outcomes_total" and labels[0][1] == "call" and labels[1][1] != "ok" and value
    }
    assert ends == failures
    served = sum(count for (_, step, _), count in failures.items() if step == "two")
    assert observed.metrics["stepgraph_step_fallbacks_total", (("operation", "call"), ("step", "two"))] == served > 0
    assert (
        observed.metrics[
            "stepgraph_step_outcomes_total", (("operation", ""), ("outcome", "SUBREQUEST_HTTP_ERROR"), ("step", "Item.more"))
        ]
        == 1
    )


def test_a_secret_is_in_nothing_that_the_gateway_puts_out(observed: Observed) -> None:
    """L-02. The upstream has failed with every header, path and body that it received."""
    assert "status 500" in observed.everything["stderr"], "the echo is in the log"
    secrets = [*CANARIES.values(), HEADER, VARIABLE, ARGUMENT]
    leaks = {(name, secret) for name, text in observed.everything.items() for secret in secrets if secret in text}
    # The plan of a query shows its literals, and so does the error of a rejected one.
    assert {(name, secret) for name, secret in leaks if not name.startswith("answer") or secret != ARGUMENT} == set()


def test_a_value_that_is_declared_sensitive_is_in_nothing_that_the_gateway_puts_out(observed: Observed) -> None:
    assert {name for name, text in observed.everything.items() if str(NUMBER) in text} == set()
    assert "•••" in observed.answers["variable"]["errors"][0]["message"]
    assert "•••" in observed.answers["literal"]["errors"][0]["message"]
    assert "•••" in observed.everything["plan --format tree"]
    (line,) = [line for line in observed.of("step failed") if (line["request_id"], line["step"]) == ("echo", "one")]
    assert line["detail"] == "500 •••"


def test_the_main_port_has_nothing_of_the_admin_listener(observed: Observed) -> None:
    """L-04."""
    seen = {name for name in observed.everything if re.match(r"\d{3} /", name)}
    assert len(seen) == 7
    assert {name for name in seen if not name.startswith("404")} == set()


UPGRADE = ("request", "GET", "refused")
"""The log lines of the websocket test, in case it ran first."""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("quiet")
    files = {"a.yaml": "operation: o\nsteps: [ { name: a, type: value, value: 1 } ]"}
    with serve_command(folder, write_files(folder / "config", files)) as process:
        yield process


def test_a_websocket_is_refused(quiet: Process) -> None:
    """L-04."""
    handshake = (
        "GET /graphql HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", urlsplit(quiet.url).port or 0), timeout=10) as client:
        client.sendall(handshake.encode())
        status = client.recv(100).decode().partition("\r\n")[0]
    assert status.split()[1].startswith("4"), status


def test_in_production_what_went_well_has_no_line_of_its_own(quiet: Process) -> None:
    for query, status in (("{ o { a } }", 200), ("{ p }", 400)):
        headers = {"accept": "application/graphql-response+json", "x-request-id": query[2]}
        response = httpx.post(f"{quiet.url}/graphql", json={"query": query}, headers=headers, trust_env=False, timeout=10)
        assert response.status_code == status
    quiet.stop()
    lines = [json.loads(line) for line in quiet.stderr.splitlines()]
    assert [(line["event"], line["method"], line["outcome"]) for line in lines if line["request_id"] != "p"] in ([], [UPGRADE])
    (line,) = [line for line in lines if line["request_id"] == "p"]
    assert (line["event"], line["outcome"]) == ("request", "refused")


def test_each_of_several_workers_has_its_metrics_on_a_port_of_its_own(tmp_path: Path) -> None:
    config = write_files(tmp_path / "config", {"a.yaml": "operation: o\nsteps: [ { name: a, type: value, value: 1 } ]"})
    admin = free_port()
    with serve_command(tmp_path, config, "--workers", "2", "--admin-port", str(admin)) as process:
        for _ in range(20):  # each on a new connection, so that both workers get some
            httpx.post(f"{process.url}/graphql", json={"query": "{ o { a } }"}, trust_env=False, timeout=10)
        wait_until(lambda: sum(requests_counted(admin + number) for number in (1, 2)) == 20, "twenty requests, counted", 10)
        assert requests_counted(admin) in {requests_counted(admin + number) for number in (1, 2)}


def test_workers_that_start_at_the_same_moment_have_different_ports() -> None:
    port = free_port()
    with ExitStack() as stack:
        bound = [stack.enter_context(own) for _ in range(3) for own in bind_worker_port(port, 2)]
        assert len({own.getsockname()[1] for own in bound}) == len(bound) == 2


def requests_counted(port: int) -> float:
    with suppress(httpx.TransportError):  # the worker may still be starting
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=10).text
        families = text_string_to_metric_families(text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == "stepgraph_requests_total")
    return -1000
