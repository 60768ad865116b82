"""Reliability case L-10: services with a certificate of their own, which a source trusts by a file, or without verifying it."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from gateway.blueprint.view import blueprint_json
from gateway.load.build.build import build_next, load
from gateway.load.read.files import read_files
from gateway.schema.changes import changes
from resolvers import STEP_TYPES
from tests.faults import FaultServer, Json
from tests.faults.served import Served
from tests.kit.serving import serving, wait_until, write_files

case = pytest.mark.case
CA, OTHER = trustme.CA(), trustme.CA()
TLS = {
    "": False,
    "tls: {}": False,
    "tls: { verify: true }": False,
    "tls: { verify: false }": True,
    "tls: { ca: own.pem }": True,
    "tls: { ca: other.pem }": False,
}
GRAPH = """
sources:
  rest: { type: api, base_url: "URL", transport: TRANSPORT, retry: { attempts: 1 } TLS }
  people: { type: graphql, url: "URL/graphql", transport: TRANSPORT, retry: { attempts: 1 } TLS }
defaults: { api: rest, graphql: people }
---
operation: o
steps:
  - { name: a, type: api, endpoint: /a, returns: Int }
  - { name: b, type: graphql, query: "{ b }", returns: Int }
"""


def write(folder: Path, url: str, tls: str, transport: str = "http1") -> Path:
    text = GRAPH.replace("URL", url).replace("TRANSPORT", transport).replace("TLS", f", {tls}" if tls else "")
    return write_files(folder, {"graph.yaml": text, "own.pem": pem(CA), "other.pem": pem(OTHER)})


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def own_server() -> FaultServer:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("127.0.0.1").configure_cert(context)
    server = FaultServer(context)
    server.script("/a", Json(1))
    server.script("/graphql", Json({"data": {"b": 2}}))
    return server


@case("L-10")
@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
@pytest.mark.parametrize("transport", ["http1", "httpx"])
@pytest.mark.parametrize("tls", TLS)
def test_a_service_with_its_own_certificate_is_called_only_where_it_is_trusted(
    tls: str, transport: str, scheme: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with own_server() as server:
            folder = write(tmp_path, server.url.replace("https", scheme), tls, transport)
            async with serving(folder) as gateway:
                answer = await gateway.ask("{ o { a b } }")
                if TLS[tls]:
                    assert answer.body == {"data": {"o": {"a": 1, "b": 2}}}
                else:
                    assert answer.codes == ["SUBREQUEST_HTTP_ERROR"] * 2
                    assert server.requests == []

    asyncio.run(scenario())


@case("L-10")
@pytest.mark.parametrize("transport", ["http1", "httpx"])
def test_without_verification_a_certificate_of_another_name_is_taken_and_with_a_file_it_is_not(
    transport: str, tmp_path: Path
) -> None:
    async def scenario() -> list[bool]:
        reached = []
        for tls in ("tls: { verify: false }", "tls: { ca: own.pem }"):
            async with (
                own_server() as server,
                serving(write(tmp_path, server.url.replace("127.0.0.1", "localhost"), tls, transport)) as gateway,
            ):
                reached.append((await gateway.ask("{ o { a b } }")).data["o"] == {"a": 1, "b": 2})
        return reached

    assert asyncio.run(scenario()) == [True, False]


FILES = {
    "tls: { ca: missing.pem }": "No such file",
    "tls: { ca: . }": "Is a directory",
    "tls: { ca: empty.pem }": "no certificates in PEM",
    "tls: { ca: junk.pem }": "no certificates in PEM",
    "tls: { ca: words.pem }": "no certificates in PEM",
    "tls: { ca: graph.yaml }": "no certificates in PEM",
    "tls: { ca: own.pem, verify: false }": "remove one",
    "tls: { ca: 1 }": "expected a text",
    'tls: { verify: "no" }': "write false",
    "tls: { verifi: false }": "did you mean 'verify'",
}


@case("L-10")
@pytest.mark.parametrize("tls", FILES)
def test_a_file_that_has_no_certificates_is_a_mistake_of_the_configuration(tls: str, tmp_path: Path) -> None:
    folder = write(tmp_path, "https://127.0.0.1:1", tls)
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    write_files(folder, {"empty.pem": "", "junk.pem": f"{begin}\nAAAA\n{end}\n", "words.pem": "kein Zertifikat für uns"})
    problems = build_next(read_files(folder), STEP_TYPES).problems
    assert [problem.subject.partition(" ·")[0] for problem in problems] == ["source rest", "source people"]
    assert [problem.place.line for problem in problems] == [3, 4]
    assert all(FILES[tls] in problem.message for problem in problems)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("tls"), {"graph.yaml": told(0)}) as opened:
        yield opened


def told(number: int, tls: str = ", tls: { verify: false }") -> str:
    sources = f"sources: {{ rest: {{ type: api, base_url: 'https://127.0.0.1:1'{tls} }} }}\n---\n"
    steps = f"[{{ name: a, type: value, value: {number} }}, {{ name: b, type: api, source: rest, endpoint: / }}]"
    return f"{sources}operation: o\nsteps: {steps}\n---\nreload: {{ poll_ms: 100 }}\n"


@case("L-10")
def test_every_load_tells_of_it_and_so_does_a_metric(served: Served) -> None:
    def warnings() -> list[str]:
        events = [json.loads(line) for line in served.process.stderr.splitlines() if line.startswith("{")]
        return [event["level"] for event in events if "certificate of source 'rest' is not verified" in event["event"]]

    assert warnings() == ["warning"]
    assert served.metric("stepgraph_insecure_sources") == 1
    served.write({"graph.yaml": told(1)})
    wait_until(lambda: len(warnings()) == 2, "a warning at the reload")
    served.write({"graph.yaml": told(1, "")})
    wait_until(lambda: served.metric("stepgraph_insecure_sources") == 0, "the metric follows")
    assert len(warnings()) == 2


URLS = {
    "postgresql://u:p@db.internal/x": False,
    "postgresql://u:p@db.internal/x?sslmode=disable": True,
    "postgresql://u:p@db.internal/x?sslmode=prefer": True,
    "postgresql://u:p@db.internal/x?sslmode=require": True,
    "postgresql://u:p@db.internal/x?sslmode=require&sslrootcert=ca.pem": False,
    "postgresql://u:p@db.internal/x?sslmode=verify-ca": False,
    "postgresql://u:p@db.internal/x?sslmode=verify-full": False,
    "postgresql:///x?host=db.internal&sslmode=require": True,
    "postgresql:///x?host=/var/run/postgresql&sslmode=disable": False,
    "postgresql://u:p@localhost/x?sslmode=disable": False,
    "sqlite:///x.db": False,
}


@case("L-10")
@pytest.mark.parametrize("url", URLS)
def test_a_database_is_not_verified_where_its_url_says_so(url: str, tmp_path: Path) -> None:
    text = f"sources: {{ db: {{ type: warehouse, url: '{url}' }} }}\n---\noperation: o\nsteps: [{{ name: a, type: value, value: 1 }}]\n"
    blueprint = load(write_files(tmp_path, {"graph.yaml": text}), STEP_TYPES)
    assert blueprint.insecure_sources == (["db"] if URLS[url] else [])
    assert [source["insecure"] for source in blueprint_json(blueprint)["sources"]] == [URLS[url]]
    findings = list(STEP_TYPES["warehouse"].advise_source(blueprint.sources["db"].keys))
    assert [finding.code for finding in findings] == ["unverified-certificate"] * URLS[url]


@case("L-10")
def test_a_comparison_tells_that_a_source_is_no_longer_verified(tmp_path: Path) -> None:
    old, new = (
        load(write(tmp_path / name, "https://127.0.0.1:1", tls), STEP_TYPES)
        for name, tls in (("old", ""), ("new", "tls: { verify: false }"))
    )
    texts = [change.text for change in changes(old, new)]
    assert "source rest: other tls" in texts
    assert "source people: certificate verified yes → no" in texts
