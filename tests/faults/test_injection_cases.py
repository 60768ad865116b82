"""Client values in paths, SQL and configurations are always data, never code (rows I-01 to I-09)."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from gateway.errors import ConfigurationError
from gateway.load.build.build import load
from resolvers import STEP_TYPES
from tests.faults import FaultServer, Json, Redirect
from tests.faults.graph import GRAPH, TABLES
from tests.faults.served import Served
from tests.kit.serving import write_files

case = pytest.mark.case
ACCOUNT = "query($id: JSON) { account(id: $id) { detail } }"

ON_THE_WIRE = {
    "42": b"42",
    "../admin": b"..%2Fadmin",
    "%2e%2e": b"%252e%252e",
    "a/b": b"a%2Fb",
    "a?x=1": b"a%3Fx%3D1",
    "a#f": b"a%23f",
    "a;b": b"a%3Bb",
    "a b": b"a%20b",
    "a+b": b"a%2Bb",
    "a&b=c": b"a%26b%3Dc",
    "@evil.com": b"%40evil.com",
    "//evil.com/": b"%2F%2Fevil.com%2F",
    "\\..\\admin": b"%5C..%5Cadmin",
    "http://evil.com": b"http%3A%2F%2Fevil.com",
    "é": b"%C3%A9",
    "\u2028": b"%E2%80%A8",
    "...": b"...",
    "x" * 1_024: b"x" * 1_024,
}


@case("I-01")
@pytest.mark.parametrize("value", ON_THE_WIRE, ids=lambda value: ascii(value)[:14])
def test_a_value_is_one_segment_of_the_request_line(served: Served, value: str) -> None:
    target = b"/accounts/" + ON_THE_WIRE[value] + b"/detail"
    served.upstream.script(target.decode("ascii"), Json("found"))
    assert served.ask(ACCOUNT, {"id": value}).data == {"account": {"detail": "found"}}
    assert served.upstream.requests[-1].line == b"GET " + target + b" HTTP/1.1"
    host = dict(served.upstream.requests[-1].headers)["host"]
    assert host == served.upstream.url.removeprefix("http://")


@case("I-01")
@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 12345678901234567890123, 10**200 + 1], ids=lambda value: str(value)[:14])
def test_a_whole_number_of_any_size_keeps_its_digits(served: Served, value: int) -> None:
    target = f"/accounts/{value}/detail"
    served.upstream.script(target, Json("found"))
    parameters = {"query": ACCOUNT, "variables": json.dumps({"id": value})}
    get = f"/graphql?{urlencode(parameters)}"
    for answer in (served.ask(ACCOUNT, {"id": value}), served.send("GET", get, headers={"graphql-require-preflight": "1"})):
        assert answer.data == {"account": {"detail": "found"}}
        assert served.upstream.requests[-1].line == f"GET {target} HTTP/1.1".encode()


REFUSED = [".", "..", "", None, "a\r\nb", "a\0b", "\x1f", "\x7f", "\r\nHost: evil", "x" * 1_025, {"a": 1}, ["a"], [], {}]


@case("I-01", "I-02")
@pytest.mark.parametrize("value", REFUSED, ids=lambda value: ascii(value)[:14])
def test_a_value_that_is_no_segment_calls_nobody_and_names_the_argument(served: Served, value: object) -> None:
    before = len(served.upstream.requests)
    answer = served.ask(ACCOUNT, {"id": value})
    assert (answer.status, answer.data) == (200, {"account": {"detail": None}})
    assert answer.fault == ("BAD_USER_INPUT", "detail", ["account", "detail"])
    assert "'id'" in answer.error["message"]
    assert len(served.upstream.requests) == before


@case("I-04")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_wherever_it_leads(served: Served, status: int) -> None:
    async def redirect() -> None:
        async with FaultServer() as target:
            for location in (f"{target.url}/secret", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "/quick"):
                served.upstream.script("/moved", Redirect(location, status))
                before = served.upstream.count("/quick")
                answer = await served.gateway.ask('{ pair(left: "moved") { first } }')
                assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "first", ["pair", "first"])
                assert answer.error["extensions"]["http"] == {"status": status}
                assert (len(target.connections), served.upstream.count("/quick")) == (0, before)

    served.run(redirect)


# -- egress


def problems_of(folder: Path, text: str) -> str:
    """Return the problems of an invalid configuration, each with its place."""
    with pytest.raises(ConfigurationError) as caught:
        load(write_files(folder, {"a.yaml": text}), STEP_TYPES, {})
    for problem in caught.value.problems:
        assert problem.place.line >= 1
        assert problem.place.column >= 1
    return "\n".join(map(str, caught.value.problems))


@case("I-05")
@pytest.mark.parametrize("url", ["http://{tenant}.example", "http://core.example:{tenant}", "http://{request.headers.host}/a"])
def test_a_host_that_a_request_would_choose_is_a_problem_of_the_configuration(tmp_path: Path, url: str) -> None:
    step = "operation: a\nargs: { tenant: ID! }\nsteps: [ { name: b, type: api, endpoint: /b } ]\n"
    text_of_problems = problems_of(
        tmp_path, f'sources: {{ core: {{ type: api, base_url: "{url}" }} }}\ndefaults: {{ api: core }}\n---\n{step}'
    )
    assert "a.yaml:1:" in text_of_problems


@case("I-05")
def test_proxies_and_passwords_of_the_environment_are_ignored(tmp_path: Path) -> None:
    proxy = "http://127.0.0.1:9"
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login joe password secret\n", "utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    environment = {name: proxy for word in ("http_proxy", "https_proxy", "all_proxy") for name in (word, word.upper())}
    graph = {"graph.yaml": GRAPH["graph.yaml"].replace("NOBODY", "9"), "types.graphql": GRAPH["types.graphql"]}
    (tmp_path / "config").mkdir()
    with closing(sqlite3.connect(tmp_path / "config" / "data.db")) as database:
        database.executescript(TABLES)
    with Served(tmp_path, graph, HOME=str(tmp_path), NETRC=str(tmp_path / ".netrc"), **environment) as served:
        served.upstream.script("/direct", Json("direct"))
        assert served.ask('{ pair(left: "direct") { first } }').data == {"pair": {"first": "direct"}}
        assert "authorization" not in dict(served.upstream.requests[-1].headers)


# -- SQL

PERSON = "query($id: JSON) { person(id: $id) { row } }"


@case("I-06")
@pytest.mark.parametrize(
    "value", ["1 OR 1=1", "'; DROP TABLE people;--", "1; DELETE FROM people", "1 UNION SELECT 1, 2", "\0", "%"]
)
def test_sql_in_an_argument_finds_nothing_and_changes_nothing(served: Served, value: str) -> None:
    assert served.ask(PERSON, {"id": value}).body == {"data": {"person": {"row": None}}}
    assert served.ask("{ people { count } }").data == {"people": {"count": {"n": 3}}}


@case("I-06")
@pytest.mark.parametrize("value", [2**70, {"a": 1}, [1], [], {}], ids=ascii)
def test_what_is_no_value_of_sql_is_bad_input(served: Served, value: object) -> None:
    literal = str(value) if isinstance(value, int) else json.dumps(value).replace('"', "")
    for answer in (served.ask(f"{{ person(id: {literal}) {{ row }} }}"), served.ask(PERSON, {"id": value})):
        assert answer.data == {"person": {"row": None}}
        assert answer.fault == ("BAD_USER_INPUT", "row", ["person", "row"])


WRITES = [
    "SELECT id FROM people WHERE id = {id}",
    "SELECT 1; SELECT 2",
    "DELETE FROM people",
    "INSERT INTO people VALUES (4, 'x') RETURNING id",
    "UPDATE people SET name = 'x'",
    "DROP TABLE people",
    "ATTACH 'other.db' AS other",
    "PRAGMA writable_schema = 1",
    "SELECT load_extension('evil.so')",
    "VACUUM INTO 'copy.db'",
    "WITH d AS (DELETE FROM people RETURNING id) SELECT id FROM d",
    "CREATE TABLE t (a)",
    "SELECT writefile('a', 'b')",
]


@case("I-07")
@pytest.mark.parametrize("query", WRITES)
def test_sql_that_does_more_than_read_is_a_problem_of_the_configuration_or_refused_by_the_database(
    tmp_path: Path, query: str
) -> None:
    text = f"""sources: {{ data: {{ type: warehouse, url: "sqlite:///data.db" }} }}
defaults: {{ warehouse: data }}
---
operation: a
args: {{ id: ID }}
steps: [ {{ name: b, type: warehouse, query: "{query}" }} ]
"""
    if "writefile" in query:  # not a built-in function of SQLite: only the database can detect it
        load(write_files(tmp_path, {"a.yaml": text}), STEP_TYPES, {})
    else:
        assert "a.yaml:6:" in problems_of(tmp_path, text)


# -- hostile YAML (the fifteen files of tests/loading/test_read.py are the row's)

SOUND = "operation: a\nsteps: [{ name: x, type: value, value: 1 }]\n"
KEPT_AS_TEXT = [("no", "no"), ("on", "on"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01")]


@case("I-09")
@pytest.mark.parametrize(("written", "value"), KEPT_AS_TEXT)
def test_what_yaml_1_1_took_for_something_else_stays_text(tmp_path: Path, written: str, value: str) -> None:
    blueprint = load(write_files(tmp_path, {"a.yaml": SOUND.replace("value: 1", f"value: {written}")}), STEP_TYPES, {})
    assert blueprint.operations["a"].steps["x"].keys.model_dump()["value"] == value


@case("I-09")
def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + SOUND.encode())
    assert list(load(tmp_path, STEP_TYPES, {}).operations) == ["a"]
