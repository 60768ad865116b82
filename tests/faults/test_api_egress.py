"""What is sent to an upstream, where it is sent, and what of it reaches the client (rows I-02, I-04, I-05 and L-01)."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolvers.json_http import TRANSPORTS
from tests.faults import Behaviour, FaultServer, Html, Json, Raw, Redirect, Status
from tests.kit.serving import Answer, Stage, serving, write_files

CONFIG = {
    "graph.yaml": """
sources:
  core: { type: api, base_url: UPSTREAM, retry: { attempts: 1 }, breaker: { enabled: false } }
  nowhere: { type: api, base_url: "http://no-such-host.invalid", retry: { attempts: 1 } }
defaults: { api: core }
---
operation: plain
args: { path: ID! }
steps: [ { name: call, type: api, endpoint: "/{path}" } ]
---
operation: segment
args: { value: JSON }
steps: [ { name: call, type: api, endpoint: "/accounts/{value}/detail" } ]
---
operation: header
args: { value: JSON }
steps: [ { name: call, type: api, endpoint: /headers, headers: { x-value: "{value}" } } ]
---
operation: selecting
steps: [ { name: call, type: api, endpoint: /selected, select: "abs(secret)" } ]
---
operation: unresolved
steps: [ { name: call, type: api, source: nowhere, endpoint: / } ]
""",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("egress"), CONFIG) as opened:
        opened.upstream.script("/headers", Json("found"))
        yield opened


def ask(stage: Stage, query: str, value: object = None) -> Answer:
    return stage.run(lambda: stage.production.ask(query, {"v": value}, x_request_id="known-id"))


# -- values in paths and headers (I-02)

REFUSED_SEGMENTS = ["", ".", "..", "a\0b", "a\r\nb", "\x7f", "x" * 1_025, "é" * 513, {"a": 1}, [1], [], {}]


@pytest.mark.parametrize("value", REFUSED_SEGMENTS, ids=lambda value: repr(value)[:12])
@pytest.mark.case("I-02")
def test_a_value_that_is_no_path_segment_is_refused_before_any_call(stage: Stage, value: object) -> None:
    before = len(stage.upstream.requests)
    answer = ask(stage, "query($v: JSON) { segment(value: $v) { call } }", value)
    assert (answer.status, answer.data) == (200, {"segment": {"call": None}})
    assert answer.fault == ("BAD_USER_INPUT", "call", ["segment", "call"])
    assert "'value'" in answer.error["message"]
    assert len(stage.upstream.requests) == before


def test_a_null_for_a_path_segment_is_refused_before_any_call(stage: Stage) -> None:
    before = len(stage.upstream.requests)
    answer = ask(stage, "{ segment { call } }")
    assert answer.fault == ("BAD_USER_INPUT", "call", ["segment", "call"])
    assert len(stage.upstream.requests) == before


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("42", "42"),
        (42, "42"),
        (True, "true"),
        ("../admin", "..%2Fadmin"),
        ("%2e%2e", "%252e%252e"),
        ("a/b?x=1#f;c", "a%2Fb%3Fx%3D1%23f%3Bc"),
        ("@evil.com", "%40evil.com"),
        ("//evil.com/", "%2F%2Fevil.com%2F"),
        ("\\..\\admin", "%5C..%5Cadmin"),
        ("...", "..."),
        ("é 中", "%C3%A9%20%E4%B8%AD"),
        ("x" * 1_024, "x" * 1_024),
    ],
    ids=lambda value: str(value)[:12],
)
@pytest.mark.case("I-01")
def test_any_other_value_is_one_segment_on_the_wire(stage: Stage, value: object, segment: str) -> None:
    target = f"/accounts/{segment}/detail"
    stage.upstream.script(target, Json("found"))
    answer = ask(stage, "query($v: JSON) { segment(value: $v) { call } }", value)
    assert answer.data == {"segment": {"call": "found"}}
    assert stage.upstream.requests[-1].target == target


# -- where calls go (I-04, I-05)


@pytest.mark.parametrize("location", ["{target}/secret", "http://169.254.169.254/latest", "file:///etc/passwd", "/secret", ""])
@pytest.mark.case("I-04")
def test_a_redirect_is_not_followed(stage: Stage, location: str) -> None:
    async def redirect() -> tuple[Answer, int]:
        async with FaultServer() as target:
            stage.upstream.script("/moved", Redirect(location.format(target=target.url)))
            answer = await stage.production.ask('{ plain(path: "moved") { call } }')
            return answer, len(target.requests) + stage.upstream.count("/secret")

    answer, followed = stage.run(redirect)
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "call", ["plain", "call"])
    assert answer.error["extensions"]["http"] == {"status": 302}
    assert followed == 0


@pytest.mark.case("I-05")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_proxies_and_passwords_of_the_environment_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    async def ask_by_proxy() -> tuple[Answer, int, list[str]]:
        async with FaultServer() as proxy, FaultServer() as upstream:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
                monkeypatch.setenv(name.lower(), proxy.url)
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            netrc = tmp_path / ".netrc"
            netrc.write_text("machine 127.0.0.1 login joe password secret\n", "utf-8")
            netrc.chmod(0o600)
            monkeypatch.setenv("HOME", str(tmp_path))
            monkeypatch.setenv("NETRC", str(netrc))
            upstream.script("/quick", Json("direct"))
            of_source = f"{upstream.url}, transport: {transport}"
            config = {name: text.replace("UPSTREAM", of_source) for name, text in CONFIG.items()}
            async with serving(write_files(tmp_path / "config", config)) as gateway:
                answer = await gateway.ask('{ plain(path: "quick") { call } }')
            return answer, len(proxy.requests), [name for name, _ in upstream.requests[-1].headers]

    answer, by_proxy, headers = asyncio.run(ask_by_proxy())
    assert answer.data == {"plain": {"call": "direct"}}
    assert by_proxy == 0
    assert "authorization" not in headers


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\0b", "\x7f", "a\x1bb", {"a": 1}, [1]], ids=ascii)
def test_a_value_that_is_no_header_is_refused_before_any_call(stage: Stage, value: object) -> None:
    before = len(stage.upstream.requests)
    answer = ask(stage, "query($v: JSON) { header(value: $v) { call } }", value)
    assert answer.fault == ("BAD_USER_INPUT", "call", ["header", "call"])
    assert len(stage.upstream.requests) == before


@pytest.mark.parametrize("value", ["plain", "tab\tinside", 'quotes "and" commas, too', "é", 7, True], ids=ascii)
def test_any_other_value_stands_in_its_header(stage: Stage, value: object) -> None:
    answer = ask(stage, "query($v: JSON) { header(value: $v) { call } }", value)
    assert answer.data == {"header": {"call": "found"}}
    sent = dict(stage.upstream.requests[-1].headers)["x-value"]
    assert sent == (str(value).lower() if value is True else str(value))


# -- what clients are text (L-01)

SECRET = "Traceback: /srv/app/db.py SELECT * FROM users; http://10.0.0.7:8080 password=hunter2"


LEAKY: dict[str, Behaviour] = {
    "a status": Status(500, SECRET.encode()),
    "a page": Html(SECRET),
    "a reason": Raw(b"HTTP/1.1 500 hunter2 10.0.0.7\r\ncontent-length: 0\r\n\r\n"),
    "a header": Raw(b"HTTP/1.1 200 OK\r\nx-leak: " + SECRET.encode() + b"\0\r\n\r\n"),
}


@pytest.mark.parametrize("name", LEAKY)
@pytest.mark.case("L-01")
def test_what_an_upstream_says_of_its_failure_goes_to_the_log_alone(
    stage: Stage, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage.upstream.script("/leaky", LEAKY[name])
    answer = ask(stage, '{ plain(path: "leaky") { call } }')
    assert_without(answer, "hunter2", "10.0.0.7", "db.py", "SELECT", "127.0.0.1", "httpx")
    record = vars(only_record(caplog))
    assert (record["request_id"], record["operation"], record["step"]) == ("known-id", "plain", "call")
    assert record["code"] == answer.codes[0]
    assert record["detail"]
    assert "hunter2" in record["detail"] or name in {"a reason", "a header"}


@pytest.mark.case("L-01")
def test_an_expression_that_fails_tells_the_client_nothing_of_the_value(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.upstream.script("/selected", Json({"secret": "hunter2"}))
    answer = ask(stage, "{ selecting { call } }")
    assert answer.fault == ("INTERNAL_SERVER_ERROR", "call", ["selecting", "call"])
    assert answer.error["message"] == "'call' could not be computed."
    assert_without(answer, "hunter2", "abs", "secret")
    assert "select" in vars(only_record(caplog))["detail"]


@pytest.mark.case("L-01")
def test_a_name_that_does_not_resolve_is_told_to_the_log_alone(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(stage, "{ unresolved { call } }")
    assert answer.data == {"unresolved": {"call": None}}
    assert answer.codes[0] in {"SUBREQUEST_HTTP_ERROR", "GATEWAY_TIMEOUT"}  # some name resolvers take long to report it
    assert_without(answer, "invalid", "no-such-host")
    assert only_record(caplog)


def assert_without(answer: Answer, *words: str) -> None:
    text = str((answer.body, answer.headers))
    for word in words:
        assert word not in text


def only_record(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = [record for record in caplog.records if record.name == "stepgraph.engine"]
    return record
