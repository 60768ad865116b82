"""Whatever an upstream answers, the gateway's own answer is sound JSON with values of the types that the schema says (over sockets)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import Behaviour, Raw
from tests.faults.served import Served
from tests.fuzz import budget

CONFIG = {
    "graph.yaml": """
sources: { core: { breaker: { enabled: false }, type: api, base_url: UPSTREAM, timeout_ms: 2000, retry: { attempts: 1 } } }
defaults: { api: core }
---
operation: typed
steps:
  - { name: item, type: api, endpoint: /item, returns: Item }
  - { name: items, type: api, endpoint: /item, select: "[@, @]", returns: "[Item!]" }
  - { name: beside, type: value, value: 1, returns: Int }
---
operation: untyped
steps: [ { name: any, type: api, endpoint: /item } ]
""",
    "types.graphql": """
type Item { number: Int! float: Float name: String id: ID flag: Boolean size: Size tags: [String!] inner: Item grid: [[Int]] any: JSON }
enum Size { SMALL LARGE }
scalar JSON
""",
}
LEAVES = "number float name id flag size tags grid any"
QUERY = f"""{{
  typed {{ item {{ {LEAVES} inner {{ {LEAVES} }} }} items {{ {LEAVES} }} beside }}
  untyped {{ any }}
}}"""
STATUSES = st.sampled_from(
    [200] * 12 + [100, 101, 103, 201, 204, 205, 206, 300, 302, 304, 400, 404, 429, 500, 503, 599, 600, 999, 0]
)
LEAF = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**66), 2**66), st.floats(), st.text(max_size=8)),
    st.sampled_from(["SMALL", "5", "x", "\ud800", "\0", 2**31, -(2**31), 1e400, "9" * 400]),
)
FIELDS = st.sampled_from([*LEAVES.split(), "inner", "__typename", ""])
VALUE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=8), max_leaves=20)
SOUND_ITEM = {
    "number": 1,
    "float": 1.5,
    "name": "a",
    "id": "1",
    "flag": True,
    "size": "SMALL",
    "tags": ["t"],
    "grid": [[1, None], None],
}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw JSON, nearly JSON, or no JSON at all."""
    item = draw(st.one_of(st.dictionaries(FIELDS, VALUE).map(lambda part: {**SOUND_ITEM, **part}), VALUE))
    body = bytearray(json.dumps(item).encode())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(draw(st.one_of(st.just(body), st.binary(max_size=60))))


HEADERS = st.lists(
    st.sampled_from(
        [
            *(b"content-type: application/json", b"content-type: text/html", b"content-type: ", b"content-encoding: gzip"),
            *(b"content-encoding: identity", b"transfer-encoding: chunked", b"content-length: 5", b"content-length: -1"),
            *(
                b"connection: close",
                b"connection: keep-alive",
                b"retry-after: 99999999999",
                b"retry-after: never",
                b"cache-control: max-age=x",
            ),
            *(
                b"x: \xff\xfe",
                b": none",
                b"no colon",
                b"x\0y: z",
                b"set-cookie: a=b",
                b" folded: line",
                b"age: -1",
                b"date: yesterday",
            ),
        ]
    ),
    max_size=4,
)


@st.composite
def responses(draw: st.DrawFn) -> Raw:
    """Draw the bytes of a response: most of them sound in their form."""
    body = draw(bodies())
    lines = [b"HTTP/1.1 %d Whatever" % draw(STATUSES)]
    if draw(st.integers(0, 9)):
        lines += [b"content-type: application/json", b"content-length: %d" % len(body)]
    else:
        lines += draw(HEADERS)
    whole = b"\r\n".join([*lines, b"", b""]) + body
    cut = draw(st.sampled_from([None] * 12 + [0.0, 0.3, 0.9]))
    return Raw(whole if cut is None else whole[: int(len(whole) * cut)])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("fuzzed"), CONFIG) as opened:
        yield opened


def check_item(item: Mapping[str, Any] | None) -> None:
    if item is None:
        return
    assert type(item["number"]) is int
    assert -(2**31) <= item["number"] < 2**31
    for name, kinds in {"float": float | int, "name": str, "id": str, "flag": bool, "tags": list, "grid": list}.items():
        assert item[name] is None or isinstance(item[name], kinds), (name, item[name])
    assert item["size"] in {None, "SMALL", "LARGE"}
    assert item["tags"] is None or all(isinstance(tag, str) for tag in item["tags"])
    rows = [row for row in item["grid"] or () if row is not None]
    assert all(cell is None or type(cell) is int for row in rows for cell in row)
    check_item(item.get("inner"))


@pytest.mark.case("Q-11", "U-06", "U-07", "P-09")
@budget(250)
@given(responses())
def test_no_response_of_an_upstream_makes_an_answer_unsound(served: Served, response: Behaviour) -> None:
    served.upstream.script("/item", response)
    answer = served.ask(QUERY)
    served.upstream.forget()
    assert answer.status == 200
    typed = answer.data["typed"]
    assert typed["beside"] == 1
    check_item(typed["item"])
    for item in typed["items"] or ():
        assert item is not None
        check_item(item)
    assert (typed["item"] is not None and typed["items"] is not None) or answer.codes or answer.data["untyped"]["any"] is None
    assert {"INTERNAL_SERVER_ERROR"}.isdisjoint(answer.codes)
    for error in answer.body.get("errors", ()):
        assert error["path"][0] in {"typed", "untyped"}


def test_afterwards_the_gateway_answers_as_before_and_has_told_of_no_defect(served: Served) -> None:
    body = json.dumps(SOUND_ITEM).encode()
    served.upstream.script(
        "/item", Raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    )
    assert "errors" not in served.ask(QUERY).body
    assert "Traceback" not in served.process.stderr
